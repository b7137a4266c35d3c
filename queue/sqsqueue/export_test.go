package sqsqueue

import (
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/schemas"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// PolicyDoc and OperationsUsed are for the tests alone.
var (
	PolicyDoc      = policyDoc
	OperationsUsed = operationsUsed
)

// Wired gives a request what Send gives it, but for the retries and the digests.
func Wired() func(*sqs.Options) {
	return new(wires).use
}

// NewWire is the wire of a protocol, whatever it is.
func NewWire(p smithyhttp.ClientProtocol) smithyhttp.ClientProtocol { return &wire{ClientProtocol: p} }

// Learns reports whether requests are written here instead of by p.
func Learns(p smithyhttp.ClientProtocol) bool {
	return learn(p, smithy.NewOperationSchema(schemas.SendMessageBatch, schemas.SendMessageBatchRequest, schemas.SendMessageBatchResult)) != nil
}

// Decodes reports whether an answer is read here instead of by the SDK.
func Decodes(body string) bool {
	return (&answer{body: []byte(body)}).decode(new(sqs.SendMessageBatchOutput))
}

// Unwrapping is the HTTP client that requests get in the place of c.
func Unwrapping(c sqs.HTTPClient) sqs.HTTPClient { return unwrapping{c} }
