package sqstest

import (
	"fmt"
	"net/http"
	"strings"
)

// An apiError is what the server answers instead of a result.
type apiError struct {
	kind    errorKind
	message string
}

func (e *apiError) Error() string { return e.kind.code + ": " + e.message }

// An errorKind is one typed error of the service: its shape in the JSON body, the code that older
// clients know (the x-amzn-query-error header, which the Go SDK reads first) and its HTTP status.
type errorKind struct {
	shape  string
	code   string
	status int
}

func (k errorKind) with(format string, args ...any) *apiError {
	return &apiError{kind: k, message: fmt.Sprintf(format, args...)}
}

// fault says who is to blame, in the words of the wire.
func (k errorKind) fault() string {
	if k.status >= http.StatusInternalServerError {
		return "Receiver"
	}
	return "Sender"
}

const (
	sqsShape   = "com.amazonaws.sqs#"
	coralShape = "com.amazon.coral.service#"
	legacyCode = "AWS.SimpleQueueService."
)

func modelled(shape, code string) errorKind {
	return errorKind{shape: sqsShape + shape, code: code, status: http.StatusBadRequest}
}

func common(shape, code string, status int) errorKind {
	return errorKind{shape: coralShape + shape, code: code, status: status}
}

// The errors of the service. Codes of modelled errors are those of the query protocol where they
// differ from the shape's name.
var (
	errNoQueue          = modelled("QueueDoesNotExist", legacyCode+"NonExistentQueue")
	errQueueExists      = modelled("QueueNameExists", "QueueAlreadyExists")
	errDeletedRecently  = modelled("QueueDeletedRecently", legacyCode+"QueueDeletedRecently")
	errPurgeInProgress  = modelled("PurgeQueueInProgress", legacyCode+"PurgeQueueInProgress")
	errBatchEmpty       = modelled("EmptyBatchRequest", legacyCode+"EmptyBatchRequest")
	errBatchTooMany     = modelled("TooManyEntriesInBatchRequest", legacyCode+"TooManyEntriesInBatchRequest")
	errBatchTooLong     = modelled("BatchRequestTooLong", legacyCode+"BatchRequestTooLong")
	errBatchIDs         = modelled("BatchEntryIdsNotDistinct", legacyCode+"BatchEntryIdsNotDistinct")
	errBatchID          = modelled("InvalidBatchEntryId", legacyCode+"InvalidBatchEntryId")
	errNotInFlight      = modelled("MessageNotInflight", legacyCode+"MessageNotInflight")
	errUnsupported      = modelled("UnsupportedOperation", legacyCode+"UnsupportedOperation")
	errAttributeName    = modelled("InvalidAttributeName", "InvalidAttributeName")
	errAttributeValue   = modelled("InvalidAttributeValue", "InvalidAttributeValue")
	errContents         = modelled("InvalidMessageContents", "InvalidMessageContents")
	errReceipt          = modelled("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid")
	errOverLimit        = modelled("OverLimit", "OverLimit")
	errAddress          = modelled("InvalidAddress", "InvalidAddress")
	errNoResource       = modelled("ResourceNotFoundException", "ResourceNotFoundException")
	errThrottled        = modelled("RequestThrottled", "RequestThrottled")
	errParameter        = common("InvalidParameterValueException", "InvalidParameterValue", http.StatusBadRequest)
	errMissing          = common("MissingRequiredParameterException", "MissingParameter", http.StatusBadRequest)
	errSerialization    = common("SerializationException", "SerializationException", http.StatusBadRequest)
	errUnknownOperation = common("UnknownOperationException", "InvalidAction", http.StatusBadRequest)
	errSignature        = common("InvalidSignatureException", "SignatureDoesNotMatch", http.StatusForbidden)
	errInternal         = common("InternalFailure", "InternalFailure", http.StatusInternalServerError)
	errUnavailable      = common("ServiceUnavailableException", "ServiceUnavailable", http.StatusServiceUnavailable)
)

// knownErrors lists every error of the service, for faults that name one.
func knownErrors() []errorKind {
	return []errorKind{
		errNoQueue, errQueueExists, errDeletedRecently, errPurgeInProgress,
		errBatchEmpty, errBatchTooMany, errBatchTooLong, errBatchIDs, errBatchID,
		errNotInFlight, errUnsupported, errAttributeName, errAttributeValue, errContents, errReceipt,
		errOverLimit, errAddress, errNoResource, errThrottled, errParameter, errMissing,
		errSerialization, errUnknownOperation, errSignature, errInternal, errUnavailable,
	}
}

// kindOf finds the error that code names, as a shape or as a query code. A code the service does
// not have is passed through, so that a fault can play any error of a proxy or of the future.
func kindOf(code string, status int) errorKind {
	kind := errorKind{shape: coralShape + code, code: code, status: http.StatusInternalServerError}
	for _, known := range knownErrors() {
		if known.code == code || strings.TrimPrefix(known.shape, sqsShape) == code || strings.TrimPrefix(known.code, legacyCode) == code {
			kind = known
			break
		}
	}
	if status != 0 {
		kind.status = status
	}
	return kind
}

func badParameter(name string, value any, reason string) *apiError {
	return errParameter.with("Value %v for parameter %s is invalid. Reason: %s", value, name, reason)
}

func missing(name string) *apiError {
	return errMissing.with("The request must contain the parameter %s.", name)
}
