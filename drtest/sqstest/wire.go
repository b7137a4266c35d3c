package sqstest

import (
	"encoding/json"
	"unicode/utf8"
)

// An entry holds the members that a single action and an entry of a batch have in common.
type entry struct {
	Id                      string
	MessageBody             string
	DelaySeconds            *int
	MessageAttributes       map[string]attribute
	MessageSystemAttributes map[string]attribute
	MessageDeduplicationId  string
	MessageGroupId          string
	ReceiptHandle           string
	VisibilityTimeout       *int

	checked *content  // of a send, when it is sound
	bad     *apiError // of a batch's send, when it is not
}

// An attribute is a message attribute, in requests and in responses.
type attribute struct {
	DataType         string
	StringValue      *string  `json:",omitempty"`
	BinaryValue      []byte   `json:",omitempty"`
	StringListValues []string `json:",omitempty"`
	BinaryListValues [][]byte `json:",omitempty"`
}

// A request is the union of the inputs of all actions: no member means two things.
type request struct {
	entry
	QueueName                   string
	QueueUrl                    string
	QueueNamePrefix             string
	Attributes                  map[string]string
	Tags                        map[string]string
	TagKeys                     []string
	AttributeNames              []string
	MessageAttributeNames       []string
	MessageSystemAttributeNames []string
	MaxNumberOfMessages         *int
	WaitTimeSeconds             *int
	ReceiveRequestAttemptId     string
	MaxResults                  *int
	NextToken                   string
	Entries                     []entry

	SourceArn, DestinationArn, TaskHandle string
	MaxNumberOfMessagesPerSecond          *int
}

// decode reads a request's body. Unknown members are ignored, as the service does.
func decode(body []byte) (*request, *apiError) {
	if !utf8.Valid(body) {
		return nil, errSerialization.with("The request is not valid UTF-8.")
	}
	in := new(request)
	if err := json.Unmarshal(body, in); err != nil {
		return nil, errSerialization.with("The request is not valid JSON for this action: %v", err)
	}
	return in, nil
}

// The outputs of the actions.
type (
	queueURLOutput struct {
		QueueUrl string
	}
	attributesOutput struct {
		Attributes map[string]string `json:",omitempty"`
	}
	tagsOutput struct {
		Tags map[string]string `json:",omitempty"`
	}
	listQueuesOutput struct {
		QueueUrls []string `json:",omitempty"`
		NextToken string   `json:",omitempty"`
	}
	// The service writes this one member in lower case.
	listSourcesOutput struct {
		QueueUrls []string `json:"queueUrls"`
		NextToken string   `json:",omitempty"`
	}
	moveOutput struct {
		TaskHandle                       string `json:",omitempty"`
		ApproximateNumberOfMessagesMoved *int   `json:",omitempty"`
	}
	listMovesOutput struct {
		Results []moveEntry
	}
	moveEntry struct {
		ApproximateNumberOfMessagesMoved  int
		ApproximateNumberOfMessagesToMove int
		DestinationArn                    string `json:",omitempty"`
		FailureReason                     string `json:",omitempty"`
		MaxNumberOfMessagesPerSecond      int
		SourceArn                         string
		StartedTimestamp                  int64
		Status                            string
		TaskHandle                        string `json:",omitempty"`
	}
	sendOutput struct {
		Id                           string `json:",omitempty"`
		MessageId                    string
		MD5OfMessageBody             string
		MD5OfMessageAttributes       string `json:",omitempty"`
		MD5OfMessageSystemAttributes string `json:",omitempty"`
		SequenceNumber               string `json:",omitempty"`
	}
	receiveOutput struct {
		Messages []messageOutput `json:",omitempty"`
	}
	messageOutput struct {
		MessageId              string
		ReceiptHandle          string
		MD5OfBody              string
		Body                   string
		Attributes             map[string]string    `json:",omitempty"`
		MD5OfMessageAttributes string               `json:",omitempty"`
		MessageAttributes      map[string]attribute `json:",omitempty"`
	}
	batchOutput struct {
		Successful []any
		Failed     []failedEntry `json:",omitempty"`
	}
	doneEntry struct {
		Id string
	}
	failedEntry struct {
		Id          string
		Code        string
		Message     string
		SenderFault bool
	}
	errorOutput struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
)
