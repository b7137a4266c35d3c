package retryaws_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/tracing"

	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/retry"
	"github.com/holdfast-go/holdfast/retry/retryaws"
)

// inMemory answers SQS requests without a network: first with the given responses, then well.
type inMemory struct{ responses []*http.Response }

func (m *inMemory) Do(r *http.Request) (*http.Response, error) {
	if len(m.responses) == 0 {
		return reply(200, `{"QueueUrl":"http://queue"}`), nil
	}
	next := m.responses[0]
	m.responses = m.responses[1:]
	next.Request = r
	return next, nil
}

func reply(status int, text string) *http.Response {
	return &http.Response{
		StatusCode: status, Body: io.NopCloser(strings.NewReader(text)),
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
	}
}

func throttledFor(milliseconds string) *http.Response {
	resp := reply(400, `{"__type":"com.amazonaws.sqs#ThrottlingException"}`)
	resp.Header.Set("X-Amz-Retry-After", milliseconds)
	return resp
}

// The SDK's mode of 2026 reads x-amz-retry-after itself, and would wait once more after our wait.
func TestAHintIsWaitedForOnce(t *testing.T) {
	for _, mode := range []string{"false", "true"} {
		t.Run(mode, func(t *testing.T) {
			t.Setenv("AWS_NEW_RETRIES_2026", mode)
			synctest.Test(t, func(t *testing.T) {
				cfg := configFor("http://sqs.test")
				cfg.HTTPClient = &inMemory{responses: []*http.Response{throttledFor("3000")}}
				retryaws.Use(&cfg, zeroDelay())
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
				defer cancel()
				start := time.Now()
				err := queueURL(ctx, cfg)
				if took := time.Since(start).Round(time.Millisecond); err != nil || took != 3*time.Second {
					t.Errorf("GetQueueUrl = %v after %v, want success after 3s", err, took)
				}
			})
		})
	}
}

// atAttempt is a tracer that runs a func when the SDK begins its attempt of that number.
type atAttempt struct {
	tracing.NopTracerProvider
	number int
	run    func()
}

func (a *atAttempt) Tracer(string, ...tracing.TracerOption) tracing.Tracer { return a }

func (a *atAttempt) StartSpan(ctx context.Context, name string, _ ...tracing.SpanOption) (context.Context, tracing.Span) {
	if name == "Attempt" {
		if a.number--; a.number == 0 {
			a.run()
		}
	}
	nop := tracing.NopTracerProvider{}
	return nop.Tracer("").StartSpan(ctx, name)
}

// A cancel between our wait and the attempt: the SDK ends its loop with the context's error and sends nothing.
func TestAnAttemptThatTheSDKDoesNotSendHasNotRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg := configFor("http://sqs.test")
	cfg.HTTPClient = &inMemory{responses: []*http.Response{throttledFor("0")}}
	p := zeroDelay()
	retryaws.Use(&cfg, p)
	client := sqs.NewFromConfig(cfg, func(o *sqs.Options) { o.TracerProvider = &atAttempt{number: 2, run: cancel} })
	_, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("q")})
	e, ok := errors.AsType[*retry.Error](err)
	if !ok || e.Reason != retry.ReasonContext || !errors.Is(err, context.Canceled) {
		t.Fatalf("error = %v, want one of the context", err)
	}
	if _, ok := errors.AsType[smithy.APIError](err); !ok {
		t.Errorf("the service's error is not in %v", err)
	}
	if got := outcome.Of(err); got != outcome.Ran {
		t.Errorf("outcome = %d, want Ran: the service answered the one attempt", got)
	}
}
