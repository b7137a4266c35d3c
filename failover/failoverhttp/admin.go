package failoverhttp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/internal/problem"
)

// maxAdminBody bounds what is read of a request.
const maxAdminBody = 64 << 10

// An adminRequest is the JSON body of Admin's POSTs. Who asks is never taken from it.
type adminRequest struct {
	To         failover.Region `json:"to"`
	Reason     string          `json:"reason"`
	Planned    bool            `json:"planned"`
	AcceptLoss string          `json:"accept_loss"`   // a duration, or "unknown"
	Former     bool            `json:"former_writer"` // with AcceptLoss: also a former writer's data
	Evidence   string          `json:"evidence"`
}

// Admin lets people move the writer:
//
//	GET  /                        status
//	GET  /lint                    problems that would hurt in an outage
//	POST /moves                   {"to", "reason", "planned", "accept_loss", "former_writer"}: asks; another person approves
//	POST /moves/{id}/approve      {"accept_loss", "former_writer", "reason"}: all optional; this person accepts the loss too
//	POST /moves/{id}/deny         {"reason"}: also takes a move back that is not promoted yet
//	POST /moves/{id}/waive-fence  {"reason"}: this person vouches that the old writer cannot write
//	POST /moves/{id}/promoted     {"evidence"}: for promotions by hand
//
// Bodies are JSON. authorize is called for every request and returns the name that goes into the audit log, never one from the request
// itself; its error is answered with 403. There is no Admin without it. Requests that a browser makes for another site are refused.
func Admin(c *failover.Controller, authorize func(*http.Request) (by string, err error)) (http.Handler, error) {
	if c == nil {
		return nil, errors.New("failoverhttp: Admin: the controller is nil")
	}
	if authorize == nil {
		return nil, errors.New("failoverhttp: Admin: authorize is nil: it would let anybody move the writer")
	}
	a := &admin{c, authorize}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.allowed(func(w http.ResponseWriter, r *http.Request, _ string) { Status(c).ServeHTTP(w, r) }))
	mux.HandleFunc("GET /lint", a.allowed(func(w http.ResponseWriter, _ *http.Request, _ string) { writeJSON(w, c.Lint()) }))
	mux.HandleFunc("POST /moves", a.action(a.move))
	mux.HandleFunc("POST /moves/{id}/approve", a.action(a.approve))
	mux.HandleFunc("POST /moves/{id}/deny", a.action(a.deny))
	mux.HandleFunc("POST /moves/{id}/waive-fence", a.action(a.waive))
	mux.HandleFunc("POST /moves/{id}/promoted", a.action(a.promoted))
	return http.NewCrossOriginProtection().Handler(mux), nil
}

type admin struct {
	c         *failover.Controller
	authorize func(*http.Request) (string, error)
}

// allowed asks authorize before do.
func (a *admin) allowed(do func(w http.ResponseWriter, r *http.Request, by string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		by, err := a.authorize(r)
		if err != nil || by == "" {
			problem.Write(w, r, problem.Problem{Type: problem.Prefix + "forbidden", Title: "Not authorized", Status: http.StatusForbidden})
			return
		}
		do(w, r, by)
	}
}

// action reads the body, acts and answers with the transition or the refusal.
func (a *admin) action(do func(r *http.Request, q adminRequest, by string) (failover.Transition, error)) http.HandlerFunc {
	return a.allowed(func(w http.ResponseWriter, r *http.Request, by string) {
		q, err := read(w, r)
		if err != nil {
			status := http.StatusBadRequest
			if _, large := errors.AsType[*http.MaxBytesError](err); large {
				status = http.StatusRequestEntityTooLarge
			}
			problem.Write(w, r, problem.Problem{Type: problem.Prefix + "bad-request", Title: "Bad request", Status: status, Detail: err.Error()})
			return
		}
		t, err := do(r, q, by)
		switch {
		case err == nil:
			writeJSON(w, t)
		case errors.Is(err, failover.ErrRefused):
			problem.Write(w, r, problem.Problem{Type: problem.Prefix + "refused", Title: "Refused", Status: http.StatusUnprocessableEntity, Detail: err.Error()})
		default: // the coordinator's: the change may have been stored
			problem.Write(w, r, problem.Problem{
				Type: problem.Prefix + "outcome-unknown", Title: "The coordinator did not answer",
				Status: http.StatusGatewayTimeout, Detail: "Look at the status before you ask again: " + err.Error(),
			})
		}
	})
}

// read reads the body: one JSON object, or nothing.
func read(w http.ResponseWriter, r *http.Request) (q adminRequest, err error) {
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAdminBody))
	body.DisallowUnknownFields()
	if err := body.Decode(&q); err == io.EOF {
		return q, nil
	} else if err != nil {
		return q, err
	}
	if _, err := body.Token(); err != io.EOF {
		return q, errors.Join(errors.New("there is more than one JSON object"), err)
	}
	return q, nil
}

func (a *admin) move(r *http.Request, q adminRequest, by string) (failover.Transition, error) {
	loss, err := q.loss(by)
	if err != nil {
		return failover.Transition{}, err
	}
	return a.c.Failover(r.Context(), q.To, failover.Request{Reason: q.Reason, By: by, Planned: q.Planned, AcceptLoss: loss})
}

// loss is what by accepts with the request; nil if nothing.
func (q adminRequest) loss(by string) (*failover.AcceptLoss, error) {
	accepted := &failover.AcceptLoss{Exposure: failover.UnknownExposure, Reason: q.Reason, By: by, FormerWriter: q.Former}
	switch q.AcceptLoss {
	case "":
		if q.Former {
			return nil, fmt.Errorf("%w: former_writer without accept_loss", failover.ErrRefused)
		}
		return nil, nil
	case "unknown":
		return accepted, nil
	}
	d, err := time.ParseDuration(q.AcceptLoss)
	if err != nil {
		return nil, errors.Join(failover.ErrRefused, err)
	}
	accepted.Exposure = d
	return accepted, nil
}

func (a *admin) approve(r *http.Request, q adminRequest, by string) (failover.Transition, error) {
	loss, err := q.loss(by)
	switch {
	case err != nil:
		return failover.Transition{}, err
	case loss != nil:
		return a.c.ApproveLoss(r.Context(), r.PathValue("id"), *loss)
	}
	return a.c.Approve(r.Context(), r.PathValue("id"), by)
}

func (a *admin) deny(r *http.Request, q adminRequest, by string) (failover.Transition, error) {
	id := r.PathValue("id")
	return failover.Transition{ID: id}, a.c.Deny(r.Context(), id, by, q.Reason)
}

func (a *admin) waive(r *http.Request, q adminRequest, by string) (failover.Transition, error) {
	id := r.PathValue("id")
	return failover.Transition{ID: id}, a.c.WaiveFence(r.Context(), id, by, q.Reason)
}

func (a *admin) promoted(r *http.Request, q adminRequest, by string) (failover.Transition, error) {
	t := a.c.Decision().Transition
	if t == nil || t.ID != r.PathValue("id") {
		return failover.Transition{}, errors.Join(failover.ErrRefused, errors.New("no such move is under way"))
	}
	evidence := ""
	if q.Evidence != "" {
		evidence = by + ": " + q.Evidence
	}
	return *t, t.Promoted(r.Context(), evidence)
}
