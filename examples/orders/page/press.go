package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"sync"

	"github.com/holdfast-go/holdfast/internal/problem"
)

// maxForm bounds a button's request.
const maxForm = 4 << 10

// A button is an Action that can be pressed once at a time.
type button struct {
	Action
	busy sync.Mutex
}

// press answers POST /actions/{id}.
func (p *Page) press(w http.ResponseWriter, r *http.Request) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
		refuse(w, r, http.StatusUnsupportedMediaType, "The body is not a form", "send application/x-www-form-urlencoded")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		status := http.StatusBadRequest
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			status = http.StatusRequestEntityTooLarge
		}
		refuse(w, r, status, "The form cannot be read", err.Error())
		return
	}
	by, err := p.authorize(r)
	if err != nil {
		refuse(w, r, http.StatusForbidden, "Not authorized", err.Error())
		return
	}
	b := p.buttons[r.PathValue("id")]
	if b == nil {
		refuse(w, r, http.StatusNotFound, "There is no such button", "")
		return
	}
	p.pressed(w, r, b, by)
}

// authorize asks Config.Authorize; nobody is not a name.
func (p *Page) authorize(r *http.Request) (by string, err error) {
	err = guarded(func() (err error) {
		by, err = p.cfg.Authorize(r)
		return err
	})
	if err == nil && by == "" {
		err = errors.New("page: Config.Authorize returned no name")
	}
	return by, err
}

// pressed does b's action for by, if it can be done now.
func (p *Page) pressed(w http.ResponseWriter, r *http.Request, b *button, by string) {
	if !b.busy.TryLock() {
		refuse(w, r, http.StatusConflict, "Already under way", b.title()+" has not ended yet")
		return
	}
	defer b.busy.Unlock()
	state, a := p.feed.state(), b.Action
	undo := r.PostForm.Get("undo") == "1"
	if why := notNow(a, state, undo, r.PostForm.Get("move")); why != "" {
		refuse(w, r, http.StatusConflict, "Not now", why)
		return
	}
	a.Move = r.PostForm.Get("move")
	do, label := a.Do, a.title()
	if undo {
		do, label = a.Undo, "Heal "+a.title()
	}
	ctx, cancel := p.actionContext(r)
	defer cancel()
	err := guarded(func() error { return do(ctx, a, by) })
	p.report(a, label, by, err)
	switch {
	case err == nil:
		writeJSON(w, map[string]string{"message": label + ": done"})
	case errors.Is(err, errPanic):
		refuse(w, r, http.StatusInternalServerError, label, err.Error())
	default:
		refuse(w, r, http.StatusUnprocessableEntity, label, err.Error())
	}
}

// notNow says why a request for a cannot be served in s. What Undo is asked to end must be there, and a move must still be
// the one that was on the screen.
func notNow(a Action, s State, undo bool, move string) string {
	if undo {
		switch {
		case a.Undo == nil:
			return "this button heals nothing"
		case !a.pressed(s):
			return "there is nothing to heal"
		}
		return ""
	}
	if a.pressed(s) {
		return "it is active already"
	}
	if why := a.refuse(s); why != "" {
		return why
	}
	if a.Pending && waiting(s).ID != move {
		return "the move that you saw is gone: another one waits"
	}
	return ""
}

// actionContext is r's without its end, with a deadline, and ends with Run.
func (p *Page) actionContext(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), p.cfg.ActionTimeout)
	go func() {
		defer cancel()
		select {
		case <-p.done:
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// report puts what a came to on the timeline and into the log, and has the State read again.
func (p *Page) report(a Action, label, by string, err error) {
	e := Event{Kind: KindAction, Tone: ToneInfo, Region: a.Region, Text: fmt.Sprintf("%s pressed %s", by, label)}
	if err != nil {
		e.Tone, e.Text, e.Detail = ToneBad, e.Text+": it failed", err.Error()
		p.cfg.Logger.Warn("action failed", slog.String("action", a.ID), slog.String("by", by), slog.Any("error", err))
	} else {
		p.cfg.Logger.Info("action done", slog.String("action", a.ID), slog.String("by", by), slog.String("label", label))
	}
	p.cfg.Events.Add(e)
	select {
	case p.again <- struct{}{}:
	default:
	}
}

// refuse answers with problem details.
func refuse(w http.ResponseWriter, r *http.Request, status int, title, detail string) {
	kind := strings.ReplaceAll(strings.ToLower(http.StatusText(status)), " ", "-")
	problem.Write(w, r, problem.Problem{Type: problem.Prefix + kind, Title: title, Status: status, Detail: detail})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // the client went away
}
