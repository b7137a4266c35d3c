package sqsqueue

import (
	"bytes"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// A text is a request's body in memory that nobody writes to again.
type text struct {
	bytes.Reader
	all []byte
}

func newText(b []byte) *text {
	t := &text{all: b}
	t.Reset(b)
	return t
}

// WriteTo implements [io.WriterTo], and gives a keeper the memory itself.
func (t *text) WriteTo(w io.Writer) (int64, error) {
	k, ok := w.(*keeper)
	if !ok || len(k.body) > 0 {
		return t.Reader.WriteTo(w)
	}
	n := t.Len()
	k.body = t.all[len(t.all)-n:]
	_, err := t.Seek(0, io.SeekEnd)
	return int64(n), err
}

// A keeper keeps what is written to it.
type keeper struct{ body []byte }

func (k *keeper) Write(b []byte) (int, error) {
	k.body = append(k.body, b...)
	return len(b), nil
}

// An unwrapping gives the client's own HTTP client bodies that net/http knows to be in memory. The SDK wraps them, for callers
// who use their memory again; net/http then sends the header by itself, in case the body is long in coming, and copies the
// body once more.
type unwrapping struct{ sqs.HTTPClient }

// Do implements [sqs.HTTPClient].
func (u unwrapping) Do(r *http.Request) (*http.Response, error) {
	if body, ok := r.Body.(io.WriterTo); ok && r.Body != http.NoBody {
		in := new(struct { // one allocation
			keeper
			bytes.Reader
		})
		_, failed := body.WriteTo(&in.keeper)
		_ = r.Body.Close() // it is read, and nobody else sees it any more
		in.Reset(in.body)
		r.Body = io.NopCloser(&in.Reader)
		if failed != nil { // only of somebody else's
			r.Body = io.NopCloser(io.MultiReader(&in.Reader, failing{failed}))
		}
	}
	return u.HTTPClient.Do(r)
}
