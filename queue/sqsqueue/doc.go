// Package sqsqueue is the queue transport over Amazon SQS.
//
//	cfg, err := config.LoadDefaultConfig(ctx)
//	q, err := sqsqueue.New(sqs.NewFromConfig(cfg), url, sqsqueue.Config{DeadLetterURL: deadURL})
//	for _, p := range q.Check(ctx) { log.Print(p) }
//	client, err := queue.NewClient(q, queue.ClientConfig{})
//
// # What it does about SQS
//
//   - Every request is a batch request, cut at ten entries and 1 MiB; entries fail alone, also those of which SQS answers
//     another MD5: their outcome is unknown.
//   - The SDK's own retries are off (aws.NopRetryer) for the requests made here, whatever the client's default is: three
//     attempts of seconds each are wrong while a Region is away. The queue client decides about repeating.
//   - Every request has a deadline, because a Region that swallows packets never fails by itself.
//   - A send that got no answer is of unknown outcome: SQS may have the message.
//   - Batches of sends are written, and their answers read, by code of this package where they are plain: the SDK's takes half of a
//     message's memory. The bytes are the same, and interceptors, middleware, signing, logs and errors are the SDK's. A client
//     with a protocol or serializer of its own keeps it. Its HTTP client gets the bodies of batches as a [bytes.Reader].
//   - Tenants become the group ID of fair queues on standard queues, without any change for consumers.
//   - Payloads over [Config].Claims.Over are kept in an object store, see [Claims].
//
// # The HTTP client
//
// A batch leaves in one write if the client's transport has a buffer for it; net/http's has 4 KiB, and the SDK keeps 10 idle connections to a host:
//
//	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
//		t.WriteBufferSize, t.MaxIdleConnsPerHost = 32<<10, 64
//	})
//	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(client))
//
// # Cancelled polls
//
// SQS may lease a message to a poll whose caller has gone. The worker lets polls end; nothing here can do better.
//
// # Permissions
//
// docs/iam.md has the least-privilege policies, generated from the operations used.
package sqsqueue
