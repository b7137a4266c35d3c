package retryaws_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsretry "github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/retry"
	"github.com/holdfast-go/holdfast/retry/retryaws"
)

var (
	throttled = failure{status: 400, code: "ThrottlingException"}
	broken    = failure{status: 500, code: "InternalError"}
	missing   = failure{status: 400, code: "QueueDoesNotExist"}
	lost      = failure{}
)

func with(f failure, header, value string) failure {
	f.header = http.Header{header: {value}}
	return f
}

// both runs a test with Use and with New.
func both(t *testing.T, test func(t *testing.T, apply func(*aws.Config, *retry.Policy))) {
	t.Run("Use", func(t *testing.T) { test(t, retryaws.Use) })
	t.Run("New", func(t *testing.T) {
		test(t, func(cfg *aws.Config, p *retry.Policy) {
			cfg.Retryer = func() aws.Retryer { return retryaws.New(p) }
		})
	})
}

func zeroDelay() *retry.Policy { return &retry.Policy{Name: "sqs", Backoff: retry.Constant(0)} }

func TestOperationsAreRepeated(t *testing.T) {
	tests := []struct {
		name     string
		failures []failure
		policy   *retry.Policy
		want     int // attempts
		ok       bool
	}{
		{"success", nil, zeroDelay(), 1, true},
		{"throttled", []failure{throttled, throttled}, zeroDelay(), 3, true},
		{"server errors", []failure{broken, {status: 503, code: "x"}, {status: 502, code: "x"}}, zeroDelay(), 4, true},
		{"lost connection", []failure{lost}, zeroDelay(), 2, true},
		{"at most MaxAttempts", []failure{broken, broken, broken, broken}, zeroDelay(), 4, false},
		{"MaxAttempts 2", []failure{broken, broken}, &retry.Policy{MaxAttempts: 2, Backoff: retry.Constant(0)}, 2, false},
		{"Unlimited", []failure{broken, broken, broken, broken, broken, broken}, &retry.Policy{MaxAttempts: retry.Unlimited, Backoff: retry.Constant(0), Budget: retry.NoBudget}, 7, true},
		{"the client's fault", []failure{missing}, zeroDelay(), 1, false},
		{"not Retryable", []failure{broken}, &retry.Policy{Retryable: retry.IfNotRun}, 1, false},
		{"nil policy", nil, nil, 1, true},
	}
	both(t, func(t *testing.T, apply func(*aws.Config, *retry.Policy)) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				server := newFakeSQS(tt.failures...)
				defer server.Close()
				cfg := server.config()
				apply(&cfg, tt.policy)
				err := queueURL(t.Context(), cfg)
				if seen := server.seen(); len(seen) != tt.want || (err == nil) != tt.ok {
					t.Errorf("%d attempts, %v, want %d, success %t", len(seen), err, tt.want, tt.ok)
				}
				if _, ok := errors.AsType[smithy.APIError](err); !ok && err != nil {
					t.Errorf("the service's error is not in %v", err)
				}
			})
		}
	})
}

func TestTheSDKsAttemptHeader(t *testing.T) {
	both(t, func(t *testing.T, apply func(*aws.Config, *retry.Policy)) {
		server := newFakeSQS(broken, broken)
		defer server.Close()
		cfg := server.config()
		apply(&cfg, zeroDelay())
		if err := queueURL(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Join(server.seen(), ", "), "attempt=1; max=4, attempt=2; max=4, attempt=3; max=4"; got != want {
			t.Errorf("amz-sdk-request = %q, want %q", got, want)
		}
	})
}

func TestAFirstErrorThatIsNotRepeatedKeepsItsShape(t *testing.T) {
	server := newFakeSQS(missing)
	defer server.Close()
	cfg := server.config()
	retryaws.Use(&cfg, zeroDelay())
	err := queueURL(t.Context(), cfg)
	if _, ok := errors.AsType[*types.QueueDoesNotExist](err); !ok {
		t.Errorf("error = %v, want QueueDoesNotExist", err)
	}
	if _, ok := errors.AsType[*retry.Error](err); ok {
		t.Errorf("error = %v, want no retry.Error", err)
	}
}

func TestUseAnswersForAllAttempts(t *testing.T) {
	refused := configFor("http://127.0.0.1:1") // nobody listens
	tests := []struct {
		name     string
		failures []failure
		refuse   bool
		want     outcome.Outcome
		reason   retry.Reason
	}{
		{"lost, then answered", []failure{lost, missing}, false, outcome.Unknown, retry.ReasonNotRetryable},
		{"answered", []failure{broken, broken, broken, broken}, false, outcome.Ran, retry.ReasonAttempts},
		{"never reached", nil, true, outcome.NotRun, retry.ReasonAttempts},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := refused
			if !tt.refuse {
				server := newFakeSQS(tt.failures...)
				defer server.Close()
				cfg = server.config()
			}
			retryaws.Use(&cfg, zeroDelay())
			err := queueURL(t.Context(), cfg)
			e, ok := errors.AsType[*retry.Error](err)
			if !ok || e.Reason != tt.reason || e.Name != "sqs" {
				t.Fatalf("error = %v, want a retry.Error with reason %q", err, tt.reason)
			}
			if got := outcome.Of(err); got != tt.want {
				t.Errorf("outcome of %v = %d, want %d", err, got, tt.want)
			}
		})
	}
}

func TestHintsOfResponses(t *testing.T) {
	for _, hint := range []failure{
		with(throttled, "X-Amz-Retry-After", "1500"),
		with(throttled, "Retry-After", "2"),
	} {
		var waits []time.Duration
		server := newFakeSQS(hint)
		cfg := server.config()
		p := zeroDelay()
		p.MaxHint = time.Millisecond // not to wait for long
		p.OnRetry = func(_ context.Context, a retry.Attempt) { waits = append(waits, a.Wait) }
		retryaws.Use(&cfg, p)
		if err := queueURL(t.Context(), cfg); err != nil {
			t.Error(err)
		}
		if len(waits) != 1 || waits[0] != time.Millisecond {
			t.Errorf("%v: waits %v, want the hint cut to 1ms", hint.header, waits)
		}
		server.Close()
	}
	for value, want := range map[string]time.Duration{"1500": time.Second, "0": 0, "-1": 0, "soon": 0, "99999999999999999999999": time.Second, "18446744073709551615": time.Second} {
		server := newFakeSQS(with(throttled, "X-Amz-Retry-After", value))
		cfg := server.config()
		cfg.RetryMaxAttempts = 1
		r := retryaws.New(&retry.Policy{Backoff: retry.Constant(0), MaxHint: time.Second})
		cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
		got, err := r.RetryDelay(1, queueURL(t.Context(), cfg))
		if err != nil || got != want {
			t.Errorf("x-amz-retry-after %s: delay %v, %v, want %v", value, got, err, want)
		}
		server.Close()
	}
}

func TestAHintPastTheDeadlineIsNotSleptThrough(t *testing.T) {
	both(t, func(t *testing.T, apply func(*aws.Config, *retry.Policy)) {
		server := newFakeSQS(with(throttled, "X-Amz-Retry-After", "25000"))
		defer server.Close()
		cfg := server.config()
		apply(&cfg, zeroDelay())
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		err := queueURL(ctx, cfg)
		e, ok := errors.AsType[*retry.Error](err)
		if !ok || e.Reason != retry.ReasonDeadline || ctx.Err() != nil {
			t.Errorf("error = %v, want %q at once", err, retry.ReasonDeadline)
		}
		if _, ok := errors.AsType[smithy.APIError](err); !ok {
			t.Errorf("the service's error is not in %v", err)
		}
	})
}

func TestTheBudgetKeepsTheRealError(t *testing.T) {
	both(t, func(t *testing.T, apply func(*aws.Config, *retry.Policy)) {
		budget, err := retry.NewBudget(retry.BudgetConfig{Burst: 1, PerSecond: 1e-9, Ratio: 1e-6})
		if err != nil {
			t.Fatal(err)
		}
		server := newFakeSQS(broken, broken, broken)
		defer server.Close()
		cfg := server.config()
		apply(&cfg, &retry.Policy{Name: "sqs", Backoff: retry.Constant(0), Budget: budget})
		err = queueURL(t.Context(), cfg)
		e, ok := errors.AsType[*retry.Error](err)
		api, _ := errors.AsType[smithy.APIError](err)
		if !ok || e.Reason != retry.ReasonBudget || api == nil || api.ErrorCode() != "InternalError" || len(server.seen()) != 2 {
			t.Errorf("error = %v after %d attempts, want the budget's and the service's after 2", err, len(server.seen()))
		}
		if outcome.Of(err) != outcome.Ran {
			t.Errorf("the refusal hides that the call was answered: outcome %d", outcome.Of(err))
		}
	})
}

func TestInsideARepeatedAttemptThereIsOneAttempt(t *testing.T) {
	both(t, func(t *testing.T, apply func(*aws.Config, *retry.Policy)) {
		server := newFakeSQS(broken, broken, broken, broken, broken, broken, broken, broken, broken, broken)
		defer server.Close()
		cfg := server.config()
		p := zeroDelay()
		p.Budget = retry.NoBudget
		apply(&cfg, p)
		outer := &retry.Policy{Name: "sqs", MaxAttempts: 3, Backoff: retry.Constant(0), Budget: retry.NoBudget}
		err := outer.Do(t.Context(), func(ctx context.Context) error { return queueURL(ctx, cfg) })
		if n := len(server.seen()); err == nil || n != 4+2 {
			t.Errorf("%d attempts, want 4 of the first call and 1 of each repetition", n)
		}
	})
}

func TestUnusablePoliciesSendNothing(t *testing.T) {
	tests := []struct {
		name string
		p    *retry.Policy
		use  bool // unusable for Use too
	}{
		{"Policy.MaxAttempts", &retry.Policy{MaxAttempts: -5}, true},
		{"FullJitter", &retry.Policy{Backoff: retry.FullJitter(-1, 1)}, true},
		{"Policy.AttemptTimeout", &retry.Policy{AttemptTimeout: 1}, true},
		{"Policy.MaxElapsed", &retry.Policy{MaxElapsed: time.Hour}, false},
		{"Policy.OnRetry", &retry.Policy{OnRetry: func(context.Context, retry.Attempt) {}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			both(t, func(t *testing.T, apply func(*aws.Config, *retry.Policy)) {
				server := newFakeSQS()
				defer server.Close()
				cfg := server.config()
				apply(&cfg, tt.p)
				err := queueURL(t.Context(), cfg)
				if strings.HasSuffix(t.Name(), "Use") && !tt.use {
					if err != nil {
						t.Errorf("Use refuses: %v", err)
					}
					return
				}
				e, ok := errors.AsType[*retry.Error](err)
				if !ok || !e.NotRun() || !strings.Contains(err.Error(), tt.name) || len(server.seen()) != 0 {
					t.Errorf("error = %v after %d attempts, want %s named and none", err, len(server.seen()), tt.name)
				}
			})
		})
	}
}

func TestUseHonoursMaxElapsedAndOnRetry(t *testing.T) {
	server := newFakeSQS(broken, broken)
	defer server.Close()
	var heard []int
	cfg := server.config()
	retryaws.Use(&cfg, &retry.Policy{MaxElapsed: time.Minute, Backoff: retry.Fixed(0, time.Hour), OnRetry: func(_ context.Context, a retry.Attempt) { heard = append(heard, a.Number) }})
	err := queueURL(t.Context(), cfg)
	if e, ok := errors.AsType[*retry.Error](err); !ok || e.Reason != retry.ReasonElapsed || fmt.Sprint(heard) != "[2]" {
		t.Errorf("error = %v, heard %v, want %q after 2 attempts", err, heard, retry.ReasonElapsed)
	}
}

func TestACancelInTheWaitKeepsTheRealError(t *testing.T) {
	server := newFakeSQS(broken)
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cfg := server.config()
	retryaws.Use(&cfg, &retry.Policy{Backoff: retry.Constant(time.Hour), OnRetry: func(context.Context, retry.Attempt) { cancel() }})
	err := queueURL(ctx, cfg)
	e, ok := errors.AsType[*retry.Error](err)
	api, _ := errors.AsType[smithy.APIError](err)
	if !ok || e.Reason != retry.ReasonContext || !errors.Is(err, context.Canceled) || api == nil {
		t.Errorf("error = %v, want the cancel and the service's error", err)
	}
}

// notRun is what a breaker below the SDK returns.
type notRun struct{}

func (notRun) Error() string { return "breaker open" }
func (notRun) NotRun() bool  { return true }

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestErrorsFromBelowTheSDK(t *testing.T) {
	server := newFakeSQS()
	defer server.Close()
	tests := []struct {
		name string
		err  error
		want int
	}{
		{"a breaker's refusal", notRun{}, 2},
		{"a cancel that is not the caller's", context.Canceled, 1},
		{"EOF", io.ErrUnexpectedEOF, 2},
	}
	both(t, func(t *testing.T, apply func(*aws.Config, *retry.Policy)) {
		for _, tt := range tests {
			attempts := 0
			var numbers []int
			cfg := server.config()
			cfg.HTTPClient = &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
				numbers = append(numbers, retry.From(r.Context()).Number)
				if attempts++; attempts == 1 {
					return nil, tt.err
				}
				return http.DefaultTransport.RoundTrip(r)
			})}
			apply(&cfg, zeroDelay())
			err := queueURL(t.Context(), cfg)
			if attempts != tt.want || (err == nil) != (tt.want > 1) {
				t.Errorf("%s: %d attempts, %v, want %d", tt.name, attempts, err, tt.want)
			}
			if strings.HasSuffix(t.Name(), "Use") && tt.want > 1 && numbers[1] != 2 {
				t.Errorf("%s: attempts below the SDK are numbered %v", tt.name, numbers)
			}
		}
	})
}

func TestUseTwiceReplaces(t *testing.T) {
	server := newFakeSQS(broken, broken, broken, broken)
	defer server.Close()
	cfg := server.config()
	retryaws.Use(&cfg, &retry.Policy{Name: "first", MaxAttempts: 1})
	copied := cfg.Copy()
	retryaws.Use(&copied, &retry.Policy{Name: "second", MaxAttempts: 3, Backoff: retry.Constant(0)})
	err := queueURL(t.Context(), copied)
	if e, ok := errors.AsType[*retry.Error](err); !ok || e.Name != "second" || e.Attempts != 3 {
		t.Errorf("error = %v, want 3 attempts of the second policy", err)
	}
	err = queueURL(t.Context(), cfg)
	if e, ok := errors.AsType[*retry.Error](err); !ok || e.Name != "first" || e.Attempts != 1 {
		t.Errorf("error = %v, want 1 attempt of the first policy", err)
	}
}

func TestPartsOfUse(t *testing.T) {
	server := newFakeSQS(broken, broken)
	defer server.Close()
	cfg := server.config()
	p := zeroDelay()
	var err error
	if p.Budget, err = retry.NewBudget(retry.BudgetConfig{}); err != nil {
		t.Fatal(err)
	}
	retryaws.Use(&cfg, p)

	client := sqs.NewFromConfig(cfg, func(o *sqs.Options) {
		o.Retryer = awsretry.NewStandard(func(o *awsretry.StandardOptions) { o.MaxAttempts = 1 })
	})
	_, err = client.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("q")})
	if _, ok := errors.AsType[smithy.APIError](err); !ok || len(server.seen()) != 1 {
		t.Errorf("a client's own Retryer: %v after %d attempts, want the service's error after 1", err, len(server.seen()))
	}
	client = sqs.NewFromConfig(cfg, func(o *sqs.Options) { o.APIOptions = nil })
	_, err = client.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("q")})
	if e, ok := errors.AsType[*retry.Error](err); !ok || !e.NotRun() || len(server.seen()) != 1 {
		t.Errorf("without APIOptions: %v after %d attempts, want a refusal", err, len(server.seen())-1)
	}
	client = sqs.NewFromConfig(cfg, func(o *sqs.Options) { o.RetryMaxAttempts = 1 })
	_, err = client.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("q")})
	if _, ok := errors.AsType[smithy.APIError](err); !ok || len(server.seen()) != 2 {
		t.Errorf("RetryMaxAttempts 1: %v after %d attempts, want the service's error after 1", err, len(server.seen())-1)
	}
	if spent := p.Budget.Stats().Spent; spent != 0 {
		t.Errorf("%d repetitions paid for, none made", spent)
	}
}

func TestIsErrorRetryable(t *testing.T) {
	r := retryaws.New(nil)
	for err, want := range map[error]bool{
		notRun{}:            true,
		errors.New("x"):     false, // not known to the SDK's standard mode
		context.Canceled:    false,
		io.ErrUnexpectedEOF: false, // bare; the SDK's clients wrap it as a connection error
		permanent{notRun{}}: false,
		unknown{io.EOF}:     false,
		timeout{}:           true,
	} {
		if got := r.IsErrorRetryable(err); got != want {
			t.Errorf("IsErrorRetryable(%v) = %t, want %t", err, got, want)
		}
	}
}

type permanent struct{ error }

func (permanent) Permanent() bool { return true }

type unknown struct{ error }

func (unknown) OutcomeUnknown() bool { return true }

type timeout struct{}

func (timeout) Error() string { return "timeout" }
func (timeout) Timeout() bool { return true }
