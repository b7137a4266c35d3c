//go:build unix

package chromium_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/holdfast-go/holdfast/internal/chromium"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

func TestAccessibility(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<!doctype html><title>t</title><link rel=icon href="data:,"><button aria-pressed=true title="why">on</button><button hidden>off</button>`)
	}))
	defer server.Close()
	p, err := servertest.Chromium(t).Page(t.Context(), chromium.View{})
	must(t, err)
	must(t, p.Goto(server.URL))
	nodes, err := p.Accessibility()
	must(t, err)
	var buttons []chromium.Node
	for _, n := range nodes {
		if n.Role == "button" {
			buttons = append(buttons, n)
		}
	}
	if len(buttons) != 1 || buttons[0].Name != "on" || buttons[0].Description != "why" || buttons[0].Properties["pressed"] != "true" {
		t.Errorf("buttons %+v, want the visible one with what it says", buttons)
	}
}
