package sqsqueue_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/sqsqueue"
)

// A counting connection counts what it is given to write.
type counting struct {
	net.Conn
	writes *atomic.Int64
}

func (c counting) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// TestRequestIsOneWrite: header and body of a batch leave together if the HTTP client has a buffer for them.
func TestRequestIsOneWrite(t *testing.T) {
	served := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := echoing{}.Do(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = io.Copy(w, answer.Body)
	}))
	defer served.Close()
	var writes atomic.Int64
	transport := &http.Transport{WriteBufferSize: 64 << 10, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return counting{conn, &writes}, err
	}}
	defer transport.CloseIdleConnections()
	api := sqs.New(sqs.Options{Region: "us-east-1", BaseEndpoint: &served.URL, Credentials: credentials, HTTPClient: &http.Client{Transport: transport}})
	q, err := sqsqueue.New(api, wireURL, sqsqueue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	out := make([]queue.Outgoing, 10)
	for i := range out {
		out[i] = queue.Outgoing{CallID: "c", Body: strings.Repeat(string(rune('a'+i)), 1000)}
	}
	for range 3 {
		for i, r := range q.Send(t.Context(), out) {
			if r.Err != nil || r.MessageID != "of "+out[i].Body {
				t.Errorf("result of %d = %+v", i, r)
			}
		}
	}
	if got := writes.Load(); got != 3 {
		t.Errorf("three requests took %d writes", got)
	}
}

// A reluctant body gives itself away in one go, and may break off.
type reluctant struct {
	io.Reader
	failed error
	closed *bool
}

func (r reluctant) Close() error { *r.closed = true; return nil }

func (r reluctant) WriteTo(w io.Writer) (int64, error) {
	scratch := make([]byte, 3) // used again, as a writer must expect
	var sum int64
	for {
		n, err := r.Read(scratch)
		if n > 0 {
			if _, err := w.Write(scratch[:n]); err != nil {
				return sum, err
			}
		}
		if sum += int64(n); err == io.EOF {
			return sum, r.failed
		}
	}
}

// TestBodiesOfOthersAreCopied: what a step of the user's puts in a request arrives as it is, and ends as it does.
func TestBodiesOfOthersAreCopied(t *testing.T) {
	cut, closed := errors.New("cut off"), false
	for name, test := range map[string]struct {
		body   io.ReadCloser
		want   string
		failed error
	}{
		"a reader":       {io.NopCloser(strings.NewReader("one")), "one", nil},
		"no writer to":   {io.NopCloser(io.LimitReader(strings.NewReader("two and"), 3)), "two", nil},
		"one of theirs":  {reluctant{strings.NewReader("three and four"), nil, &closed}, "three and four", nil},
		"one that fails": {reluctant{strings.NewReader("five and six"), cut, &closed}, "five and six", cut},
		"none":           {nil, "", nil},
		"an empty one":   {http.NoBody, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, wireURL, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Body, closed = test.body, false
			var got []byte
			var failed error
			_, err = sqsqueue.Unwrapping(doing(func(r *http.Request) {
				if r.Body != nil {
					got, failed = io.ReadAll(r.Body)
				}
			})).Do(r)
			if _, theirs := test.body.(reluctant); theirs && !closed {
				t.Error("the body was not closed")
			}
			if test.body == http.NoBody && r.Body != http.NoBody {
				t.Error("what has no body got one")
			}
			if err != nil || !bytes.Equal(got, []byte(test.want)) || !errors.Is(failed, test.failed) {
				t.Errorf("the body is %q and ends with %v, want %q and %v", got, failed, test.want, test.failed)
			}
		})
	}
}

// doing is an HTTP client.
type doing func(*http.Request)

func (d doing) Do(r *http.Request) (*http.Response, error) {
	d(r)
	return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
}
