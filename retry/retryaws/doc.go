// Package retryaws makes clients of the AWS SDK for Go v2 repeat by a [retry.Policy].
//
//	cfg, err := config.LoadDefaultConfig(ctx)
//	...
//	retryaws.Use(&cfg, &retry.Policy{Name: "sqs", Budget: budget})
//	client := sqs.NewFromConfig(cfg)
//
// # Use and New
//
// [Use] is the whole: each operation is a call of the policy, with all its promises. An operation that is given up returns
// a [retry.Error] that answers for all its attempts, wraps the last one's error, and says why.
//
// [New] is a bare aws.RetryerV2 for places that take nothing else, such as a client's options. The SDK tells a retryer of an
// attempt's number and error and not of its operation, and sleeps by itself. So with New the SDK returns the last attempt's
// error alone, although an earlier attempt may have run; a wait that the schedule chose may be cut short by the context's
// deadline, and the last error is then the SDK's; MaxElapsed and OnRetry are refused.
//
// AttemptTimeout is refused by both: what an operation returns may still be streaming. Set a timeout on the HTTP client.
//
// # What is repeated
//
// Without Policy.Retryable: what the SDK's standard mode repeats (connection errors, throttling, 500, 502, 503, 504), and errors that say
// NotRun, such as a breaker's refusal below the SDK's HTTP client. Never errors marked Permanent, nor those whose OutcomeUnknown
// method answers true. Note that this repeats writes: give them a key (an SQS FIFO deduplication ID, an
// idempotency token, a condition), or set Retryable: retry.IfNotRun.
//
// The headers x-amz-retry-after (milliseconds) and Retry-After count as hints within the policy's MaxHint.
//
// # Headers
//
// The SDK sends amz-sdk-request: attempt=2; max=4 by itself, with the policy's numbers.
package retryaws
