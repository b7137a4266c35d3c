//go:build !race

// The race detector drops what pools keep, so that allocations are counted without it.

package sqsqueue_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/sqsqueue"
)

// answering gives every request the same answer.
type answering []byte

func (a answering) Do(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}}, Body: io.NopCloser(bytes.NewReader(a)), Request: r}, nil
}

// TestSendAllocations compares a batch of ten with the same by hand, without digests: a message must cost four allocations
// less, because the SDK's reader of answers makes more.
func TestSendAllocations(t *testing.T) {
	const batch, url = 10, "https://sqs.us-east-1.amazonaws.com/000000000000/q"
	body := strings.Repeat("x", 500)
	var entries []string
	for i := range batch {
		entries = append(entries, fmt.Sprintf(`{"Id":"%d","MessageId":"m","MD5OfMessageBody":"%x"}`, i, md5.Sum([]byte(body))))
	}
	api := sqs.New(sqs.Options{
		Region: "us-east-1", HTTPClient: answering(`{"Successful":[` + strings.Join(entries, ",") + `]}`), Retryer: aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "b"}, nil
		}),
	})
	plain := sqs.New(api.Options(), func(o *sqs.Options) { o.DisableMessageChecksumValidation = true })
	byHand := testing.AllocsPerRun(50, func() {
		in := make([]types.SendMessageBatchRequestEntry, batch)
		for i := range in {
			in[i] = types.SendMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), MessageBody: &body}
		}
		if _, err := plain.SendMessageBatch(t.Context(), &sqs.SendMessageBatchInput{QueueUrl: aws.String(url), Entries: in}); err != nil {
			t.Error(err)
		}
	})
	q, err := sqsqueue.New(api, url, sqsqueue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	out := make([]queue.Outgoing, batch)
	for i := range out {
		out[i] = queue.Outgoing{CallID: "a", Body: body}
	}
	sent := testing.AllocsPerRun(50, func() {
		if r := q.Send(t.Context(), out)[batch-1]; r.Err != nil {
			t.Error(r.Err)
		}
	})
	if sent > byHand-4*batch {
		t.Errorf("Send of ten allocates %.0f times, by hand %.0f without digests, want at least four less for each", sent, byHand)
	} else {
		t.Logf("Send of ten allocates %.0f times, by hand %.0f without digests", sent, byHand)
	}
}
