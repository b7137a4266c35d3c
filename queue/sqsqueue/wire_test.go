package sqsqueue_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/sqsqueue"
)

// A saying is an HTTP client that keeps the request and gives one answer to it.
type saying struct {
	status int
	header http.Header
	body   io.Reader

	request *http.Request
	sent    []byte
	closed  bool
}

func (s *saying) Do(r *http.Request) (*http.Response, error) {
	s.request = r
	if r.Body != nil {
		s.sent, _ = io.ReadAll(r.Body)
	}
	header := http.Header{"Content-Type": {"application/x-amz-json-1.0"}, "X-Amzn-Requestid": {"request-1"}}
	for key, values := range s.header {
		header[key] = values
	}
	return &http.Response{StatusCode: s.status, Header: header, Body: s, Request: r}, nil
}

func (s *saying) Read(b []byte) (int, error) { return s.body.Read(b) }
func (s *saying) Close() error               { s.closed = true; return nil }

const wireURL = "https://sqs.us-east-1.amazonaws.com/000000000000/q"

func sayingClient(s *saying) *sqs.Client {
	return sqs.New(sqs.Options{Region: "us-east-1", Credentials: credentials, HTTPClient: s, Retryer: aws.NopRetryer{}, DisableMessageChecksumValidation: true})
}

// sameRequest sends in by the SDK alone and with a wire and compares what the HTTP client was given.
func sameRequest(t *testing.T, in *sqs.SendMessageBatchInput) {
	t.Helper()
	var sides [2]*saying
	var errs [2]string
	for i := range sides {
		sides[i] = &saying{status: 200, body: strings.NewReader(`{}`)}
		var options []func(*sqs.Options)
		if i == 1 {
			options = append(options, sqsqueue.Wired())
		}
		_, err := sayingClient(sides[i]).SendMessageBatch(t.Context(), in, options...)
		errs[i] = fmt.Sprint(err)
	}
	sdk, wired := sides[0], sides[1]
	if errs[0] != errs[1] {
		t.Fatalf("with a wire the error is %s, want %s", errs[1], errs[0])
	}
	if sdk.request == nil || wired.request == nil {
		if sdk.request != wired.request {
			t.Fatal("one request was sent and the other was not")
		}
		return
	}
	if !bytes.Equal(sdk.sent, wired.sent) {
		t.Fatalf("with a wire the body is\n%q, want\n%q", wired.sent, sdk.sent)
	}
	if a, b := sdk.request, wired.request; a.Method != b.Method || a.URL.String() != b.URL.String() || a.Host != b.Host || a.ContentLength != b.ContentLength {
		t.Fatalf("with a wire the request is %s %s of %d bytes, want %s %s of %d", b.Method, b.URL, b.ContentLength, a.Method, a.URL, a.ContentLength)
	}
	if a, b := steady(sdk.request.Header), steady(wired.request.Header); !reflect.DeepEqual(a, b) {
		t.Fatalf("with a wire the headers are\n%v, want\n%v", b, a)
	}
}

// steady leaves out of header what is another in every request.
func steady(header http.Header) http.Header {
	header = header.Clone()
	for _, key := range []string{"Amz-Sdk-Invocation-Id", "X-Amz-Date", "Authorization"} {
		if len(header[key]) != 1 {
			header.Set("Missing", key)
		}
		header.Del(key)
	}
	return header
}

// an answered is what came of an answer.
type answered struct {
	Out       *sqs.SendMessageBatchOutput
	Errors    []string // the types of the error and of what it wraps, and the text of each
	Code      string
	RequestID string
	Closed    bool
}

func answerOf(t *testing.T, s *saying, options ...func(*sqs.Options)) answered {
	in := &sqs.SendMessageBatchInput{QueueUrl: aws.String(wireURL), Entries: []types.SendMessageBatchRequestEntry{{Id: aws.String("0"), MessageBody: aws.String("b")}}}
	out, err := sayingClient(s).SendMessageBatch(t.Context(), in, options...)
	a := answered{Out: out, Closed: s.closed}
	if out != nil {
		a.RequestID, _ = awsmiddleware.GetRequestIDMetadata(out.ResultMetadata)
		out.ResultMetadata = middleware.Metadata{}
	}
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		a.Code = e.ErrorCode() + e.ErrorMessage() + e.ErrorFault().String()
	}
	for ; err != nil; err = errors.Unwrap(err) {
		a.Errors = append(a.Errors, fmt.Sprintf("%T: %v", err, err))
	}
	return a
}

// sameAnswer has the SDK alone and with a wire read an answer, whose body ends with failed if that is not nil, and compares.
func sameAnswer(t *testing.T, status int, header http.Header, body string, failed error) {
	t.Helper()
	say := func() *saying {
		s := &saying{status: status, header: header, body: strings.NewReader(body)}
		if failed != nil {
			s.body = io.MultiReader(s.body, broken{failed})
		}
		return s
	}
	sdk, wired := answerOf(t, say()), answerOf(t, say(), sqsqueue.Wired())
	if !reflect.DeepEqual(sdk, wired) {
		t.Fatalf("answer %d %q: with a wire\n%s\nwant\n%s", status, body, inWords(wired), inWords(sdk))
	}
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

func inWords(a answered) string {
	b, _ := json.Marshal(a)
	return string(b)
}

// bodies has strings of every kind.
var bodies = []string{
	"", "a", "12345678", "123456789", `{"specversion":"1.0","data":{"text":"\"\\\n"}}`, "\x00\x1f \x7f\x80\xff", "tab\tline\nreturn\rbell\a\b\f\v",
	"<a href='x'>&</a>", "é ü 日本語 \U0001F600", "\u2027\u2028\u2029\u202a", "\ufffd\ufffe\uffff", "\xed\xa0\x80 \xf4\x90\x80\x80 \xc0\xaf \xe2\x80", "1234567\"", "12345678\\",
	strings.Repeat("x", 5000) + `"` + strings.Repeat("é", 3000), strings.Repeat(`"`, 999),
}

// TestWireWritesWhatTheSDKWrites: request by request, byte by byte.
func TestWireWritesWhatTheSDKWrites(t *testing.T) {
	entry := func(id, body string) types.SendMessageBatchRequestEntry {
		return types.SendMessageBatchRequestEntry{Id: &id, MessageBody: &body}
	}
	var all []types.SendMessageBatchRequestEntry
	for i, body := range bodies {
		t.Run(fmt.Sprintf("body %d", i), func(t *testing.T) {
			sameRequest(t, &sqs.SendMessageBatchInput{QueueUrl: aws.String(wireURL), Entries: []types.SendMessageBatchRequestEntry{entry("0", body)}})
		})
		all = append(all, entry(fmt.Sprint(i), body))
	}
	full := types.SendMessageBatchRequestEntry{
		Id: aws.String("9"), MessageBody: aws.String("b\n"), DelaySeconds: 900, MessageGroupId: aws.String("g\"é"), MessageDeduplicationId: aws.String("d\x7f"),
	}
	withAttribute, withSystem := full, full
	withAttribute.MessageAttributes = map[string]types.MessageAttributeValue{"k": {DataType: aws.String("Binary"), BinaryValue: []byte{0, 255}}}
	withSystem.MessageSystemAttributes = map[string]types.MessageSystemAttributeValue{"AWSTraceHeader": {DataType: aws.String("String"), StringValue: aws.String("t")}}
	for name, in := range map[string]*sqs.SendMessageBatchInput{
		"all bodies":          {QueueUrl: aws.String(wireURL), Entries: all},
		"every member":        {QueueUrl: aws.String(wireURL), Entries: []types.SendMessageBatchRequestEntry{full}},
		"negative delay":      {QueueUrl: aws.String(wireURL), Entries: []types.SendMessageBatchRequestEntry{{Id: aws.String("1"), MessageBody: aws.String(""), DelaySeconds: -1 << 31}}},
		"an attribute":        {QueueUrl: aws.String(wireURL), Entries: []types.SendMessageBatchRequestEntry{entry("0", "x"), withAttribute}},
		"a system attribute":  {QueueUrl: aws.String(wireURL), Entries: []types.SendMessageBatchRequestEntry{withSystem, entry("0", "x")}},
		"no attributes, made": {QueueUrl: aws.String(wireURL), Entries: []types.SendMessageBatchRequestEntry{{Id: aws.String("1"), MessageBody: aws.String("x"), MessageAttributes: map[string]types.MessageAttributeValue{}}}},
		"an empty entry":      {QueueUrl: aws.String(wireURL), Entries: []types.SendMessageBatchRequestEntry{{}}},
		"no entries":          {QueueUrl: aws.String(wireURL), Entries: []types.SendMessageBatchRequestEntry{}},
		"nil entries":         {QueueUrl: aws.String(wireURL)},
		"no URL":              {Entries: all},
		"odd URL":             {QueueUrl: aws.String("http://\x00é\"?&#"), Entries: all},
		"empty":               {},
	} {
		t.Run(name, func(t *testing.T) { sameRequest(t, in) })
	}
	t.Run("nil", func(t *testing.T) { sameRequest(t, nil) })
}

// FuzzWireRequest: whatever is sent, the SDK would have sent the same bytes.
func FuzzWireRequest(f *testing.F) {
	for i, body := range bodies {
		f.Add(body, "g", "d", wireURL, int32(i), uint8(i*7))
	}
	f.Fuzz(func(t *testing.T, body, group, dedup, url string, delay int32, which uint8) {
		e := types.SendMessageBatchRequestEntry{Id: &group, MessageBody: &body, DelaySeconds: delay}
		if which&1 != 0 {
			e.MessageGroupId = &group
		}
		if which&2 != 0 {
			e.MessageDeduplicationId = &dedup
		}
		if which&4 != 0 {
			e.MessageAttributes = map[string]types.MessageAttributeValue{dedup: {DataType: aws.String("String"), StringValue: &body}}
		}
		in := &sqs.SendMessageBatchInput{QueueUrl: &url, Entries: []types.SendMessageBatchRequestEntry{e, {Id: &dedup, MessageBody: &group}, e}}
		sameRequest(t, in)
	})
}

const result = `{"Id":"0","MessageId":"m-0","MD5OfMessageBody":"92eb5ffee6ae2fec3ad71c777531578f"}`

// answersToBatches are answers that the wire reads, and that it leaves to the SDK.
var answersToBatches = []struct {
	body string
	here bool
}{
	{`{"Successful":[` + result + `]}`, true},
	{`{"Failed":[],"Successful":[` + result + `,{"Id":"1"},{}]}`, true},
	{` { "Successful" : [ ` + result + " ,\n\t\r{ } ] , \"Failed\" : [ ] } \n", true},
	{`{"Successful":[{"SequenceNumber":"18870","MD5OfMessageSystemAttributes":"s","MD5OfMessageAttributes":"a","Id":"0","MessageId":"","Id":"1"}]}`, true},
	{`{"Successful":[],"Failed":[]}`, true},
	{`{"Successful":[{"Id":"é ` + "\xff\xfe\x7f\u2028" + `"}]}`, true},
	{`{}`, true},
	{`{"Failed":[],"Failed":[]}`, true},
	{`{"Successful":[` + result + `],"Failed":[{"Id":"1","Code":"InternalError","SenderFault":false,"Message":"try"}]}`, false},
	{`{"Failed":[{"Id":"0","Code":"InvalidMessageContents","SenderFault":true,"message":"no"}]}`, false},
	{`{"Successful":[` + result + `],"Successful":[]}`, false},
	{`{"Successful":[{"Id":"\u0030","MessageId":"a\"b\/"}]}`, false},
	{`{"Successful":[{"Id":"0","New":{"a":[1,2,{}]}}],"New":null}`, false},
	{`{"Successful":[null,` + result + `]}`, false},
	{`{"Successful":null,"Failed":null}`, false},
	{`{"Successful":[{"Id":null,"MessageId":"m"}]}`, false},
	{`{"Successful":[{"Id":0}]}`, false},
	{`{"Successful":[{"Id":true}]}`, false},
	{`{"Successful":{"Id":"0"}}`, false},
	{`{"Successful":"no"}`, false},
	{`{"successful":[` + result + `]}`, false},
	{`{"Successful":[` + result + `],}`, false},
	{`{"Successful":[` + result + `,]}`, false},
	{`{"Successful":[` + result + `]} trailing`, false},
	{`{"Successful":[` + result + `]}{}`, false},
	{`{"Successful":[{"Id":"` + "\n" + `"}]}`, false},
	{`{"Successful" [` + result + `]}`, false},
	{`{"Successful":[` + result + result + `]}`, false},
	{`[]`, false},
	{`null`, false},
	{`"a"`, false},
	{`1`, false},
	{``, false},
	{`   `, false},
	{`<html>503</html>`, false},
	{"\x00", false},
}

// TestWireReadsWhatTheSDKReads: answer by answer, output and error are the same, also of all that are cut off.
func TestWireReadsWhatTheSDKReads(t *testing.T) {
	cut := errors.New("connection reset")
	for i, test := range answersToBatches {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			if got := sqsqueue.Decodes(test.body); got != test.here {
				t.Errorf("%q is read here: %v, want %v", test.body, got, test.here)
			}
			for _, status := range []int{200, 201, 204, 300, 400, 403, 500, 503} {
				sameAnswer(t, status, nil, test.body, nil)
			}
			for n := range test.body {
				sameAnswer(t, 200, nil, test.body[:n], nil)
				sameAnswer(t, 200, nil, test.body[:n], cut)
			}
			sameAnswer(t, 200, nil, test.body, cut)
			sameAnswer(t, 200, nil, test.body, io.ErrUnexpectedEOF)
		})
	}
	for _, test := range []struct {
		status int
		header http.Header
		body   string
	}{
		{400, nil, `{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"The specified queue does not exist."}`},
		{400, http.Header{"X-Amzn-Query-Error": {"AWS.SimpleQueueService.NonExistentQueue;Sender"}}, `{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no"}`},
		{400, http.Header{"X-Amzn-Errortype": {"InvalidBatchEntryId"}}, `{}`},
		{403, nil, `{"__type":"RequestThrottled","Message":"slow down"}`},
		{500, nil, `{"__type":"InternalError"`},
		{503, nil, `<html>`},
		{503, nil, ``},
		{200, http.Header{"X-Amzn-Requestid": {"another"}}, `{"Successful":[` + result + `]}`},
		{200, http.Header{"Content-Type": {"text/html"}}, `{"Successful":[` + result + `]}`},
	} {
		sameAnswer(t, test.status, test.header, test.body, nil)
	}
}

// FuzzWireAnswer: whatever is answered, the SDK would have read the same.
func FuzzWireAnswer(f *testing.F) {
	for i, test := range answersToBatches {
		f.Add(test.body, 200+i%3*100, i%4 == 0)
	}
	f.Fuzz(func(t *testing.T, body string, status int, cut bool) {
		if status < 200 || status > 599 { // others do not come through an HTTP client
			status = 200
		}
		var failed error
		if cut {
			failed = io.ErrUnexpectedEOF
		}
		sameAnswer(t, status, nil, body, failed)
	})
}

// TestWireIsInUse: this SDK writes requests as the wire does. If an update changes that, sends go on by the SDK's own
// protocol, at twice the price, until the wire is brought up to it; only this test and the one of allocations fail.
func TestWireIsInUse(t *testing.T) {
	own := sayingClient(nil).Options().Protocol
	if !sqsqueue.Learns(own) {
		t.Error("requests are left to the SDK: it writes them in another way, or entries have members that encodeEntry does not know")
	}
	if got := sqsqueue.Wired(); got == nil {
		t.Fatal("no option")
	} else {
		o := sqs.Options{Protocol: own}
		if got(&o); o.Protocol == own {
			t.Error("the SDK's protocol is kept")
		}
		first := o.Protocol
		if o.Protocol = own; own != nil {
			if got(&o); o.Protocol != first {
				t.Error("the same client has two wires")
			}
		}
		if got(&o); o.Protocol != first {
			t.Error("a wire has a wire")
		}
	}
}

// A noting protocol is a user's own: it counts, and adds to every body.
type noting struct {
	smithyhttp.ClientProtocol
	requests, answers int
	adds              string
}

func (n *noting) SerializeRequest(ctx context.Context, schema *smithy.OperationSchema, in smithy.Serializable, req *smithyhttp.Request) error {
	n.requests++
	if err := n.ClientProtocol.SerializeRequest(ctx, schema, in, req); err != nil || n.adds == "" {
		return err
	}
	body, err := io.ReadAll(req.GetStream())
	if err != nil {
		return err
	}
	with, err := req.SetStream(strings.NewReader(string(body) + n.adds))
	if err != nil {
		return err
	}
	*req = *with
	return nil
}

func (n *noting) DeserializeResponse(ctx context.Context, schema *smithy.OperationSchema, registry *smithy.TypeRegistry, resp *smithyhttp.Response, out smithy.Deserializable) error {
	n.answers++
	return n.ClientProtocol.DeserializeResponse(ctx, schema, registry, resp, out)
}

// sendOne sends a message through api.
func sendOne(t *testing.T, api sqsqueue.API) queue.SendResult {
	t.Helper()
	q, err := sqsqueue.New(api, wireURL, sqsqueue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return q.Send(t.Context(), []queue.Outgoing{{CallID: "a", Body: "b"}})[0]
}

// TestUsersStepsWin: what a client was configured with is not passed by.
func TestUsersStepsWin(t *testing.T) {
	ok := func() *saying {
		return &saying{status: 200, body: strings.NewReader(`{"Successful":[` + result + `]}`)}
	}
	t.Run("a protocol of their own", func(t *testing.T) {
		s := ok()
		own := &noting{ClientProtocol: sayingClient(s).Options().Protocol, adds: " "}
		r := sendOne(t, sqs.New(sayingClient(s).Options(), func(o *sqs.Options) { o.Protocol = own }))
		if r.Err != nil || own.requests != 1 || own.answers != 1 || !bytes.HasSuffix(s.sent, []byte("} ")) {
			t.Errorf("Send = %+v after %d requests and %d answers by it, sent %q", r, own.requests, own.answers, s.sent)
		}
	})
	t.Run("a serializer of their own", func(t *testing.T) {
		s := ok()
		swap := func(stack *middleware.Stack) error {
			_, err := stack.Serialize.Swap("OperationSerializer", middleware.SerializeMiddlewareFunc("OperationSerializer", func(ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler) (middleware.SerializeOutput, middleware.Metadata, error) {
				req := in.Request.(*smithyhttp.Request)
				with, err := req.SetStream(strings.NewReader("theirs"))
				if err != nil {
					return middleware.SerializeOutput{}, middleware.Metadata{}, err
				}
				in.Request, with.Method = with, "POST"
				return next.HandleSerialize(ctx, in)
			}))
			return err
		}
		if r := sendOne(t, sqs.New(sayingClient(s).Options(), sqs.WithAPIOptions(swap))); r.Err != nil || string(s.sent) != "theirs" {
			t.Errorf("Send = %+v, sent %q", r, s.sent)
		}
	})
	t.Run("a member set by a middleware of theirs", func(t *testing.T) {
		s := ok()
		add := func(stack *middleware.Stack) error {
			return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("theirs", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				in.Parameters.(*sqs.SendMessageBatchInput).Entries[0].MessageSystemAttributes = map[string]types.MessageSystemAttributeValue{"AWSTraceHeader": {DataType: aws.String("String"), StringValue: aws.String("trace-1")}}
				return next.HandleInitialize(ctx, in)
			}), middleware.Before)
		}
		if r := sendOne(t, sqs.New(sayingClient(s).Options(), sqs.WithAPIOptions(add))); r.Err != nil || !bytes.Contains(s.sent, []byte("trace-1")) {
			t.Errorf("Send = %+v, sent %q", r, s.sent)
		}
	})
	t.Run("an SDK that writes requests in another way", func(t *testing.T) {
		s := ok()
		own := &noting{ClientProtocol: sayingClient(s).Options().Protocol, adds: " "}
		if sqsqueue.Learns(own) {
			t.Error("requests are written here, want left to it")
		}
		r := sendOne(t, sqs.New(sayingClient(s).Options(), func(o *sqs.Options) { o.Protocol = sqsqueue.NewWire(own) }))
		if r.Err != nil || own.requests != 3 || !bytes.HasSuffix(s.sent, []byte("} ")) { // two of them to learn
			t.Errorf("Send = %+v after %d requests by it, sent %q", r, own.requests, s.sent)
		}
	})
}

// echoing answers every entry with an ID made of its body.
type echoing struct{}

func (echoing) Do(r *http.Request) (*http.Response, error) {
	var in struct {
		Entries []struct{ ID, MessageBody string }
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, err
	}
	var b strings.Builder
	for i, e := range in.Entries {
		fmt.Fprintf(&b, `%s{"MessageId":"of %s","Id":%q,"MD5OfMessageBody":"%x"}`, [2]string{"", ","}[min(i, 1)], e.MessageBody, e.ID, md5.Sum([]byte(e.MessageBody)))
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"Successful":[` + b.String() + `]}`)), Request: r}, nil
}

// TestWireKeepsConcurrentSendsApart: what is read into memory that is used again is nobody else's.
func TestWireKeepsConcurrentSendsApart(t *testing.T) {
	api := sqs.New(sqs.Options{Region: "us-east-1", Credentials: credentials, HTTPClient: echoing{}})
	q, err := sqsqueue.New(api, wireURL, sqsqueue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			var all []queue.SendResult
			for i := range 20 {
				out := make([]queue.Outgoing, 10)
				for k := range out {
					out[k] = queue.Outgoing{CallID: "c", Body: fmt.Sprintf("%d %d %d%s", g, i, k, strings.Repeat("x", i*g))}
				}
				all = append(all, q.Send(t.Context(), out)...)
			}
			for n, r := range all { // after memory was used again
				i, k := n/10, n%10
				if want := fmt.Sprintf("of %d %d %d%s", g, i, k, strings.Repeat("x", i*g)); r.Err != nil || r.MessageID != want {
					t.Errorf("result = %+v, want ID %q", r, want)
				}
			}
		})
	}
	wg.Wait()
}
