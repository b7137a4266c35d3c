package retryaws_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// fakeSQS is a server that speaks enough of SQS: it answers GetQueueUrl, after the given failures.
type fakeSQS struct {
	*httptest.Server

	mu       sync.Mutex
	failures []failure
	attempts []string // amz-sdk-request headers
}

// failure is an error response, or a lost connection if status is 0.
type failure struct {
	status int
	code   string
	header http.Header
}

func newFakeSQS(failures ...failure) *fakeSQS {
	f := &fakeSQS{failures: failures}
	f.Server = httptest.NewServer(f)
	return f
}

func (f *fakeSQS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attempts = append(f.attempts, r.Header.Get("Amz-Sdk-Request"))
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if n := len(f.attempts); n > len(f.failures) {
		_ = json.NewEncoder(w).Encode(map[string]string{"QueueUrl": "http://queue"})
		return
	}
	fail := f.failures[len(f.attempts)-1]
	if fail.status == 0 {
		panic(http.ErrAbortHandler)
	}
	for name, values := range fail.header {
		w.Header()[name] = values
	}
	w.WriteHeader(fail.status)
	fmt.Fprintf(w, `{"__type":%q,"message":"no"}`, "com.amazonaws.sqs#"+fail.code)
}

func (f *fakeSQS) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.attempts...)
}

// config returns a configuration for the fake.
func (f *fakeSQS) config() aws.Config { return configFor(f.URL) }

func configFor(endpoint string) aws.Config {
	return aws.Config{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(endpoint),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
		}),
		HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
}

// queueURL makes one operation.
func queueURL(ctx context.Context, cfg aws.Config) error {
	_, err := sqs.NewFromConfig(cfg).GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("q")})
	return err
}
