package sqsqueue

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/aws/smithy-go/transport/http/protocol/awsjson"
)

// A wire is a client's own protocol with a shorter way for what a send is made of: the SDK's writer of requests takes half of
// all the memory that a send takes. What comes out is the same, byte for byte. Whatever a wire does not know goes to the
// client's own protocol: inputs with attributes, answers with failed entries, with escapes, with members it has not heard of, answers
// that are no JSON, errors. A client whose protocol is not the SDK's keeps it.
type wire struct {
	smithyhttp.ClientProtocol

	once    sync.Once
	request *template // nil: this SDK writes requests in another way
}

// A template is what the client's own protocol makes of a request, but for its body.
type template struct {
	method, path string
	keys, values []string
}

// A wires keeps the wire of the last client protocol, which is always the same unless an [API] chooses between clients.
type wires struct{ last atomic.Pointer[wire] }

// use gives a request the wire of its protocol, and bodies their shorter way, if that protocol is the SDK's.
func (w *wires) use(o *sqs.Options) {
	own, ok := o.Protocol.(*awsjson.Protocol)
	if !ok || own == nil {
		return
	}
	o.Protocol = w.of(own)
	if o.HTTPClient != nil {
		o.HTTPClient = unwrapping{o.HTTPClient}
	}
}

// of returns own's wire.
func (w *wires) of(own *awsjson.Protocol) *wire {
	last := w.last.Load()
	if last == nil || last.ClientProtocol != smithyhttp.ClientProtocol(own) {
		last = &wire{ClientProtocol: own}
		w.last.Store(last)
	}
	return last
}

// SerializeRequest implements [smithyhttp.ClientProtocol].
func (w *wire) SerializeRequest(ctx context.Context, schema *smithy.OperationSchema, in smithy.Serializable, req *smithyhttp.Request) error {
	if input, ok := in.(*sqs.SendMessageBatchInput); ok {
		w.once.Do(func() { w.request = learn(w.ClientProtocol, schema) })
		if w.request != nil && canEncode(input) {
			return w.request.fill(req, encoded(input))
		}
	}
	return w.ClientProtocol.SerializeRequest(ctx, schema, in, req)
}

// fill makes req what the client's own protocol would.
func (t *template) fill(req *smithyhttp.Request, body []byte) error {
	with, err := req.SetStream(newText(body))
	if err != nil {
		return err
	}
	*req = *with
	req.Method = t.method
	if req.URL.Path == "" {
		req.URL.Path = t.path
	}
	values := make([]string, len(t.values)) // headers may be changed in place
	copy(values, t.values)
	for i, key := range t.keys {
		req.Header[key] = values[i : i+1 : i+1]
	}
	return nil
}

// learn has own write a request and returns what it is besides its body, or nil if the body is not what encode writes or
// entries have members it does not know.
func learn(own smithyhttp.ClientProtocol, schema *smithy.OperationSchema) *template {
	if fields[types.SendMessageBatchRequestEntry]() != knownEntryFields || fields[sqs.SendMessageBatchInput]() != knownInputFields {
		return nil
	}
	req, ok := smithyhttp.NewStackRequest().(*smithyhttp.Request)
	if !ok || own.SerializeRequest(context.Background(), schema, sample, req) != nil {
		return nil
	}
	body, err := io.ReadAll(req.GetStream())
	if err != nil || !bytes.Equal(body, encoded(sample)) {
		return nil
	}
	t := &template{method: req.Method, path: req.URL.Path}
	if req.URL.String() != t.path || req.ContentLength != int64(len(body)) {
		return nil
	}
	for key, values := range req.Header {
		if len(values) != 1 || key != http.CanonicalHeaderKey(key) {
			return nil
		}
		t.keys, t.values = append(t.keys, key), append(t.values, values[0])
	}
	return t
}

// Structs with another number of fields have members that encode would leave out.
const knownEntryFields, knownInputFields = 8, 3

func fields[T any]() int { return reflect.TypeFor[T]().NumField() }

// sample has every member that encode writes, and every kind of character.
var sample = func() *sqs.SendMessageBatchInput {
	text := func(s string) *string { return &s }
	every := make([]byte, 0, 256)
	for c := range 256 {
		every = append(every, byte(c))
	}
	return &sqs.SendMessageBatchInput{QueueUrl: text("https://sqs.eu-west-1.amazonaws.com/0/a?b&c"), Entries: []types.SendMessageBatchRequestEntry{
		{Id: text("0"), MessageBody: text(string(every) + "\u2027\u2028\u2029\ufffd\ufffe\uffff\U0001F600\xed\xa0\x80"), DelaySeconds: 900},
		{Id: text("1"), MessageBody: text(`{"a":"\"\\"}`), MessageGroupId: text("g"), MessageDeduplicationId: text("d")},
		{DelaySeconds: -1},
		{Id: text(""), MessageBody: text("")},
	}}
}()

// DeserializeResponse implements [smithyhttp.ClientProtocol].
func (w *wire) DeserializeResponse(ctx context.Context, schema *smithy.OperationSchema, registry *smithy.TypeRegistry, resp *smithyhttp.Response, out smithy.Deserializable) error {
	output, ok := out.(*sqs.SendMessageBatchOutput)
	if !ok || resp.StatusCode != http.StatusOK {
		return w.ClientProtocol.DeserializeResponse(ctx, schema, registry, resp, out)
	}
	d := answers.Get().(*answer)
	defer d.recycle()
	failed := d.read(resp.Body)
	if failed == nil && d.decode(output) {
		return nil
	}
	original := resp.Body // for the SDK to close
	resp.Body = &again{Reader: io.MultiReader(bytes.NewReader(d.body), failing{failed}), Closer: original}
	defer func() { resp.Body = original }()
	return w.ClientProtocol.DeserializeResponse(ctx, schema, registry, resp, out)
}

// again is a body that has been read.
type again struct {
	io.Reader
	io.Closer
}

// failing ends what was read as it ended.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}
