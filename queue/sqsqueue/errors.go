package sqsqueue

import (
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/holdfast-go/holdfast/internal/outcome"
	"github.com/holdfast-go/holdfast/queue"
)

// apiError is what the SDK returns for an answer of the service that says no; of smithy.APIError and
// http.ResponseError only what is needed.
type apiError interface {
	error
	ErrorCode() string
}

type responseError interface {
	error
	HTTPStatusCode() int
}

// invalid are the codes that blame the message itself: no Region will take it.
var invalid = map[string]bool{
	"InvalidMessageContents":                        true,
	"AWS.SimpleQueueService.InvalidMessageContents": true,
	"InvalidParameterValue":                         true,
	"MissingParameter":                              true,
}

// sendError places the error of a whole request. An answer below 500 refused it; anything else, and no answer,
// leaves open whether SQS has the messages. alone says that the request carried one message.
func (q *Queue) sendError(err error, alone bool) error {
	e := &queue.SendError{Name: q.config.Name, Region: q.config.Region, Outcome: queue.SendUnknown, Err: err}
	if a, ok := errors.AsType[apiError](err); ok {
		e.Code = a.ErrorCode()
		e.Invalid = alone && invalid[e.Code]
	}
	if r, ok := errors.AsType[responseError](err); ok && r.HTTPStatusCode() >= 400 && r.HTTPStatusCode() < 500 || outcome.Of(err) == outcome.NotRun {
		e.Outcome = queue.SendNotRun
	}
	return e
}

// entryError places the error of one entry of a request that went through.
func (q *Queue) entryError(bad types.BatchResultErrorEntry) error {
	e := &queue.SendError{Name: q.config.Name, Region: q.config.Region, Code: aws.ToString(bad.Code), Err: fmt.Errorf("%s: %s", aws.ToString(bad.Code), aws.ToString(bad.Message))}
	e.Invalid = bad.SenderFault && invalid[e.Code]
	if !bad.SenderFault {
		e.Outcome = queue.SendUnknown
	}
	return e
}

// leaseErrors places the entries of a delete or a change of visibility that failed. A fault of ours is a receipt that does
// not hold any more.
func leaseErrors(failed []types.BatchResultErrorEntry, n int) map[int]error {
	if len(failed) == 0 {
		return nil
	}
	errs := make(map[int]error, len(failed))
	for _, bad := range failed {
		i := index(bad.Id, n)
		if i < 0 {
			continue
		}
		text := fmt.Sprintf("%s: %s", aws.ToString(bad.Code), aws.ToString(bad.Message))
		if bad.SenderFault && !throttled[aws.ToString(bad.Code)] {
			errs[i] = fmt.Errorf("%w: %s", queue.ErrLeaseLost, text)
		} else {
			errs[i] = errors.New("sqsqueue: " + text)
		}
	}
	return errs
}

var throttled = map[string]bool{"RequestThrottled": true, "ThrottlingException": true, "OverLimit": true}
