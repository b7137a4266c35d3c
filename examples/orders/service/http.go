package service

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

// customerOf returns who asks. The gateway in front has checked the token; here it only names the customer.
func customerOf(w http.ResponseWriter, r *http.Request) (string, bool) {
	customer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || customer == "" || len(customer) > 64 {
		w.Header().Set("WWW-Authenticate", "Bearer")
		problem(w, http.StatusUnauthorized, "Who are you?", "Authorization: want Bearer and a token of at most 64 characters.")
		return "", false
	}
	return customer, true
}

// known lets through who says who they are, before anything is done for them.
func known(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := customerOf(w, r); ok {
			next.ServeHTTP(w, r)
		}
	})
}

// decode reads the body of POST /orders: one JSON object, no unknown members, nothing after it.
func decode(w http.ResponseWriter, r *http.Request) (orderRequest, bool) {
	var request orderRequest
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	err := d.Decode(&request)
	if _, after := d.Token(); err == nil && after != io.EOF {
		err = errors.New("more than one JSON value")
	}
	if err != nil {
		detail := strings.TrimPrefix(err.Error(), "json: ")
		if errors.Is(err, io.EOF) {
			detail = "the body is empty"
		}
		problem(w, http.StatusBadRequest, "The body is not an order.", detail)
		return orderRequest{}, false
	}
	if wrong := request.problem(); wrong != "" {
		problem(w, http.StatusUnprocessableEntity, "The order cannot be placed.", wrong)
		return orderRequest{}, false
	}
	return request, true
}

// reply sends v as JSON.
func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone: nobody is left to tell
}

// problem sends problem details (RFC 9457).
func problem(w http.ResponseWriter, status int, title, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Status int    `json:"status"`
		Title  string `json:"title"`
		Detail string `json:"detail,omitempty"`
	}{status, title, detail})
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	problem(w, http.StatusNotFound, "There is nothing here.", "")
}

// methods refuses what a path does not take.
func methods(allow string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", allow)
		problem(w, http.StatusMethodNotAllowed, "This path does not take that method.", "")
	}
}
