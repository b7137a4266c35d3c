package sqstest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A settings holds a queue's attributes, read.
type settings struct {
	visibility, retention, delay, wait time.Duration
	maxSize                            int
	contentDedup, dedupByGroup         bool
	redrive                            *redrivePolicy
	allow                              *allowPolicy
}

// A redrivePolicy sends a message to another queue after too many receives.
type redrivePolicy struct {
	Target string `json:"deadLetterTargetArn"`
	Max    int    `json:"maxReceiveCount"`
}

// An allowPolicy says which queues may use this one for their dead letters.
type allowPolicy struct {
	RedrivePermission string   `json:"redrivePermission"`
	SourceQueueArns   []string `json:"sourceQueueArns,omitempty"`
}

func (p *allowPolicy) permits(arn string) bool {
	switch {
	case p == nil || p.RedrivePermission == "allowAll":
		return true
	case p.RedrivePermission == "denyAll":
		return false
	}
	return slices.Contains(p.SourceQueueArns, arn)
}

// A span is the range of a numeric queue attribute and its default.
type span struct{ low, high, usual int }

func spanOf(name string) (span, bool) {
	switch name {
	case "VisibilityTimeout":
		return span{0, longestLease, 30}, true
	case "MaximumMessageSize":
		return span{1024, payload, payload}, true
	case "MessageRetentionPeriod":
		return span{60, 1_209_600, 345_600}, true
	case "DelaySeconds":
		return span{0, longestDelay, 0}, true
	case "ReceiveMessageWaitTimeSeconds":
		return span{0, longestPoll, 0}, true
	case "KmsDataKeyReusePeriodSeconds":
		return span{60, 86_400, 300}, true
	}
	return span{}, false
}

// defaults are the attributes that a queue has when nobody set them.
func defaults(fifo bool) map[string]string {
	attributes := map[string]string{"SqsManagedSseEnabled": "true"}
	for _, name := range []string{"VisibilityTimeout", "MaximumMessageSize", "MessageRetentionPeriod", "DelaySeconds", "ReceiveMessageWaitTimeSeconds"} {
		s, _ := spanOf(name)
		attributes[name] = strconv.Itoa(s.usual)
	}
	if fifo {
		maps.Copy(attributes, map[string]string{
			"FifoQueue": "true", "ContentBasedDeduplication": "false", "DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue",
		})
	}
	return attributes
}

// merge returns the attributes of base with changes applied, each value checked alone and in its
// normal form. An empty policy or key removes that attribute.
func merge(base, changes map[string]string, fifo bool) (map[string]string, *apiError) {
	merged := maps.Clone(base)
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		value, err := normal(name, changes[name], fifo)
		if err != nil {
			return nil, err
		}
		if value == "" {
			delete(merged, name)
			continue
		}
		merged[name] = value
	}
	return merged, nil
}

// normal checks one attribute's value and returns it as the queue keeps it.
func normal(name, value string, fifo bool) (string, *apiError) {
	if s, ok := spanOf(name); ok {
		n, err := strconv.Atoi(value)
		if err != nil || n < s.low || n > s.high {
			return "", badAttribute(name)
		}
		return strconv.Itoa(n), nil
	}
	switch name {
	case "Policy", "KmsMasterKeyId":
		return value, nil
	case "RedrivePolicy":
		return normalRedrive(value)
	case "RedriveAllowPolicy":
		return normalAllow(value)
	case "SqsManagedSseEnabled":
		return choice(name, value, "true", "false")
	case "FifoQueue":
		if !fifo && value == "false" {
			return "", nil
		}
		return choice(name, value, "true")
	}
	if fifo {
		switch name {
		case "ContentBasedDeduplication":
			return choice(name, value, "true", "false")
		case "DeduplicationScope":
			return choice(name, value, "queue", "messageGroup")
		case "FifoThroughputLimit":
			return choice(name, value, "perQueue", "perMessageGroupId")
		}
	}
	return "", errAttributeName.with("Unknown Attribute %s.", name)
}

func choice(name, value string, valid ...string) (string, *apiError) {
	if !slices.Contains(valid, value) {
		return "", badAttribute(name)
	}
	return value, nil
}

func badAttribute(name string) *apiError {
	return errAttributeValue.with("Invalid value for the parameter %s.", name)
}

// normalRedrive accepts maxReceiveCount as a number and as a string, and its absence, as the service does.
func normalRedrive(value string) (string, *apiError) {
	if value == "" {
		return "", nil
	}
	var raw struct {
		DeadLetterTargetArn string `json:"deadLetterTargetArn"`
		MaxReceiveCount     any    `json:"maxReceiveCount"`
	}
	if err := json.Unmarshal([]byte(value), &raw); err != nil || raw.DeadLetterTargetArn == "" {
		return "", badParameter("RedrivePolicy", value, "Redrive policy is not a valid JSON map with a deadLetterTargetArn.")
	}
	most := 10
	if raw.MaxReceiveCount != nil {
		n, err := strconv.Atoi(fmt.Sprint(raw.MaxReceiveCount))
		if err != nil || n < 1 || n > receivesToDLQ {
			return "", badParameter("RedrivePolicy", value, "Invalid value for maxReceiveCount. It must be an integer from 1 to 1000.")
		}
		most = n
	}
	return fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%d}`, raw.DeadLetterTargetArn, most), nil
}

func normalAllow(value string) (string, *apiError) {
	if value == "" {
		return "", nil
	}
	var p allowPolicy
	if err := json.Unmarshal([]byte(value), &p); err != nil {
		return "", badParameter("RedriveAllowPolicy", value, "It is not a valid JSON map.")
	}
	byQueue := p.RedrivePermission == "byQueue"
	switch {
	case !byQueue && p.RedrivePermission != "allowAll" && p.RedrivePermission != "denyAll":
		return "", badParameter("RedriveAllowPolicy", value, "redrivePermission must be allowAll, denyAll or byQueue.")
	case byQueue != (len(p.SourceQueueArns) > 0):
		return "", badParameter("RedriveAllowPolicy", value, "sourceQueueArns goes with byQueue, and only with it.")
	case len(p.SourceQueueArns) > allowedSources:
		return "", badParameter("RedriveAllowPolicy", value, "sourceQueueArns holds at most 10 queues.")
	}
	out, _ := json.Marshal(p) // two strings: it cannot fail
	return string(out), nil
}

// read turns checked attributes into settings.
func read(attributes map[string]string) (settings, *apiError) {
	number := func(name string) int {
		n, _ := strconv.Atoi(attributes[name])
		return n
	}
	seconds := func(name string) time.Duration { return time.Duration(number(name)) * time.Second }
	s := settings{
		visibility: seconds("VisibilityTimeout"), retention: seconds("MessageRetentionPeriod"),
		delay: seconds("DelaySeconds"), wait: seconds("ReceiveMessageWaitTimeSeconds"),
		maxSize:      number("MaximumMessageSize"),
		contentDedup: attributes["ContentBasedDeduplication"] == "true",
		dedupByGroup: attributes["DeduplicationScope"] == "messageGroup",
	}
	if attributes["FifoThroughputLimit"] == "perMessageGroupId" && !s.dedupByGroup {
		return s, badAttribute("FifoThroughputLimit")
	}
	if value, ok := attributes["RedrivePolicy"]; ok {
		s.redrive = new(redrivePolicy)
		_ = json.Unmarshal([]byte(value), s.redrive) // normalRedrive wrote it
	}
	if value, ok := attributes["RedriveAllowPolicy"]; ok {
		s.allow = new(allowPolicy)
		_ = json.Unmarshal([]byte(value), s.allow) // normalAllow wrote it
	}
	return s, nil
}

// queueNameOK checks a name against its kind; fifo is the FifoQueue attribute.
func queueNameOK(name string, fifo bool) *apiError {
	base, suffixed := strings.CutSuffix(name, ".fifo")
	switch {
	case len(name) == 0 || len(name) > queueNameLength || base == "" || !only(base, wordDash):
		return errParameter.with("Can only include alphanumeric characters, hyphens, or underscores. 1 to %d in length", queueNameLength)
	case suffixed != fifo:
		return errParameter.with("The name of a FIFO queue must end with the .fifo suffix, and FifoQueue must be true for it.")
	}
	return nil
}
