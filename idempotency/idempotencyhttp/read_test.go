package idempotencyhttp

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/iotest"
)

// However long a body says that it is, it is read as a MaxBytesReader would have it.
func TestBodiesAreReadWhateverTheySay(t *testing.T) {
	text := bytes.Repeat([]byte("0123456789abcdef"), 256)
	for _, size := range []int{0, 1, 100, 511, 1023, 1024, 1025, 4096} {
		for _, says := range []int64{-1, 0, 1, 100, 1024, 1025, 1 << 40} {
			for _, limit := range []int64{1, 99, 100, 1023, 1024, 1025, 8192} {
				for name, through := range map[string]func(io.Reader) io.Reader{
					"at once": func(r io.Reader) io.Reader { return r }, "by halves": iotest.HalfReader, "with its end": iotest.DataErrReader,
				} {
					body := func() io.ReadCloser { return io.NopCloser(through(bytes.NewReader(text[:size]))) }
					want, wantErr := io.ReadAll(http.MaxBytesReader(nil, body(), limit))
					w := httptest.NewRecorder()
					got, err := newRecorder(w, limit).read(&http.Request{Body: body(), ContentLength: says})
					if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
						t.Errorf("%d bytes %s that say %d, limit %d: read %d, %v, want %d, %v", size, name, says, limit, len(got), err, len(want), wantErr)
					}
					if _, tooLarge := errors.AsType[*http.MaxBytesError](err); err != nil && !tooLarge {
						t.Errorf("%d bytes %s that say %d, limit %d: %v, want a MaxBytesError", size, name, says, limit, err)
					}
				}
			}
		}
	}
}

// A body that breaks off is not taken for a short one.
func TestABodyThatBreaksOffIsAnError(t *testing.T) {
	for _, says := range []int64{-1, 10, 5000} {
		body := io.NopCloser(io.MultiReader(bytes.NewReader([]byte("half")), iotest.ErrReader(io.ErrUnexpectedEOF)))
		if _, err := newRecorder(httptest.NewRecorder(), 8192).read(&http.Request{Body: body, ContentLength: says}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("a body of %d bytes that breaks off: %v, want %v", says, err, io.ErrUnexpectedEOF)
		}
	}
}

// What handlers do to their header is not seen by those around them, also where they change values in place.
func TestTheHandlersHeaderIsItsOwn(t *testing.T) {
	w := httptest.NewRecorder()
	for _, name := range []string{"A", "B", "C", "D", "E"} {
		w.Header()[name] = []string{name, "2"}
	}
	rec := newRecorder(w, 1)
	for name, values := range rec.Header() {
		if len(values) != 2 || values[0] != name || values[1] != "2" {
			t.Errorf("%s is %q", name, values)
		}
		values[0] = "changed"
		rec.Header()[name] = append(values, "more")
	}
	for name, values := range w.Header() {
		if values[0] != name || rec.before.get(name).values()[0] != name {
			t.Errorf("%s was changed to %q", name, values[0])
		}
	}
}

// A handler that keeps its ResponseWriter, which it must not, does not change what is stored.
func TestTheResponseIsCompleteWhenTheHandlerReturns(t *testing.T) {
	for _, size := range []int{10, 5000} {
		rec := newRecorder(httptest.NewRecorder(), 8192)
		if _, err := rec.read(&http.Request{Body: http.NoBody}); err != nil {
			t.Fatal(err)
		}
		text := bytes.Repeat([]byte("x"), size)
		_, _ = rec.Write(text)
		stored, err := rec.finish(nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := rec.Write([]byte("late")); n != 0 || err == nil {
			t.Errorf("Write after the handler returned = %d, %v, want an error", n, err)
		}
		if s, err := parseSnapshot(stored); err != nil || !bytes.Equal(s.body, text) || !bytes.Equal(rec.body.Bytes(), text) {
			t.Errorf("stored %q, %v and held back %q, want %d times x", s.body, err, rec.body.Bytes(), size)
		}
	}
}
