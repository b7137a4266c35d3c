package sqstest_test

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/holdfast-go/holdfast/drtest/sqstest"
)

// FuzzRequest sends any body to any action: the answer is always JSON with a status of the
// service, a message that was accepted has the digest of what was sent, and the books balance.
func FuzzRequest(f *testing.F) {
	const url = `"QueueUrl":"/000000000000/q"`
	for op, body := range map[string]string{
		"CreateQueue":                  `{"QueueName":"a.fifo","Attributes":{"FifoQueue":"true","RedrivePolicy":"{\"deadLetterTargetArn\":\"arn:aws:sqs:us-east-1:000000000000:q\",\"maxReceiveCount\":\"3\"}"},"tags":{"a":"b"}}`,
		"GetQueueUrl":                  `{"QueueName":"q"}`,
		"ListQueues":                   `{"QueueNamePrefix":"q","MaxResults":1,"NextToken":"cQ=="}`,
		"GetQueueAttributes":           `{` + url + `,"AttributeNames":["All"]}`,
		"SetQueueAttributes":           `{` + url + `,"Attributes":{"RedriveAllowPolicy":"{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[\"a\"]}"}}`,
		"SendMessage":                  `{` + url + `,"MessageBody":"x\u00e9\ud83d\ude80","DelaySeconds":0,"MessageGroupId":"g","MessageAttributes":{"a":{"DataType":"Binary","BinaryValue":"AAE="},"n":{"DataType":"Number.x","StringValue":"1e3"}}}`,
		"SendMessageBatch":             `{` + url + `,"Entries":[{"Id":"1","MessageBody":"x"},{"Id":"2","MessageBody":"\u0000"}]}`,
		"ReceiveMessage":               `{` + url + `,"MaxNumberOfMessages":10,"WaitTimeSeconds":20,"VisibilityTimeout":0,"MessageAttributeNames":["a.*"],"AttributeNames":["All"]}`,
		"DeleteMessage":                `{` + url + `,"ReceiptHandle":"AAAAAAAAAAEAAAAAAAAAAQ=="}`,
		"DeleteMessageBatch":           `{` + url + `,"Entries":[{"Id":"1","ReceiptHandle":"x"}]}`,
		"ChangeMessageVisibility":      `{` + url + `,"ReceiptHandle":"x","VisibilityTimeout":43200}`,
		"ChangeMessageVisibilityBatch": `{` + url + `,"Entries":[{"Id":"1","ReceiptHandle":"x","VisibilityTimeout":-1}]}`,
		"TagQueue":                     `{` + url + `,"Tags":{"a":"b"}}`,
		"UntagQueue":                   `{` + url + `,"TagKeys":["a"]}`,
	} {
		f.Add(op, []byte(body), "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host")
	}
	f.Fuzz(func(t *testing.T, op string, body []byte, authorization string) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, sqstest.Config{Seed: 1})
			defer s.Close()
			q := s.Queue("q")
			r := httptest.NewRequest("POST", "/", strings.NewReader(string(body)))
			r.Header.Set("X-Amz-Target", "AmazonSQS."+op)
			r.Header.Set("Authorization", authorization)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if !json.Valid(w.Body.Bytes()) || w.Code != 200 && w.Code != 400 && w.Code != 403 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			var out struct{ MD5OfMessageBody, MessageId string }
			if w.Code == 200 && op == "SendMessage" {
				_ = json.Unmarshal(w.Body.Bytes(), &out)
				sent, once := sentBody(t, body)
				sum := md5.Sum([]byte(sent))
				if once && out.MD5OfMessageBody != hex.EncodeToString(sum[:]) {
					t.Errorf("answer %s to %q", w.Body, body)
				}
			}
			if in, out := q.Totals(), q.Depth(); in.Sent-in.Deleted-in.Expired-in.Purged-in.DeadLettered != out {
				t.Errorf("%+v, but %d messages", in, out)
			}
		})
	})
}

// sentBody reads the body with a decoder that knows nothing of the server's types; once says that
// the request has a single body, in whatever case its name is written.
func sentBody(t *testing.T, request []byte) (body string, once bool) {
	var any map[string]any
	if err := json.Unmarshal(request, &any); err != nil {
		t.Fatalf("accepted %q: %v", request, err)
	}
	found := 0
	for name, value := range any {
		if s, ok := value.(string); ok && strings.EqualFold(name, "MessageBody") {
			body = s
			found++
		}
	}
	return body, found == 1 && strings.Count(strings.ToLower(string(request)), "messagebody") == 1
}
