package page_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/examples/orders/page"
)

func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var faults page.Faults
		var did []string
		button := func(id string, err error) page.Action {
			return faults.Action(page.Action{ID: id, Group: "Parts", Label: id, Region: east}, func(context.Context) (func(), error) {
				did = append(did, "break "+id)
				return func() { did = append(did, "heal "+id) }, err
			})
		}
		p := running(t, page.Config{
			State:     func() page.State { return page.State{Faults: faults.Active()} },
			Authorize: anybody, Actions: []page.Action{button("redis", nil), button("sqs", nil), button("odd", errBroken)},
		})
		press := func(id, form string, status int) {
			t.Helper()
			if w := serve(p, pressing(id, form)); w.Code != status {
				t.Errorf("POST %s %s = %d %s, want %d", id, form, w.Code, w.Body, status)
			}
			synctest.Wait() // the State is read again at once
		}
		press("redis", "", 200)
		press("redis", "", 409)
		press("sqs", "", 200)
		press("odd", "", 422)
		want := []page.Fault{{ID: "redis", Label: "Parts: redis", Region: east, Since: time.Now().UTC()}, {ID: "sqs", Label: "Parts: sqs", Region: east, Since: time.Now().UTC()}}
		if got := faults.Active(); !slices.Equal(got, want) {
			t.Errorf("Active = %v, want %v", got, want)
		}
		press("redis", "undo=1", 200)
		press("redis", "undo=1", 409)
		press("redis", "", 200)
		faults.Heal()
		if got := faults.Active(); got != nil {
			t.Errorf("Active after Heal = %v", got)
		}
		if want := []string{"break redis", "break sqs", "break odd", "heal redis", "break redis", "heal redis", "heal sqs"}; !slices.Equal(did, want) {
			t.Errorf("did %q, want %q", did, want)
		}
	})
}

func TestFaultIsNotKeptTwice(t *testing.T) {
	var faults page.Faults
	healed := 0
	a := faults.Action(page.Action{ID: "sqs"}, func(context.Context) (func(), error) { return func() { healed++ }, nil })
	if err := a.Do(t.Context(), a, "ada"); err != nil {
		t.Fatal(err)
	}
	if err := a.Do(t.Context(), a, "ada"); err == nil || healed != 1 || len(faults.Active()) != 1 {
		t.Errorf("the second Do = %v, healed %d, active %v", err, healed, faults.Active())
	}
}
