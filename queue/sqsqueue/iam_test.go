package sqsqueue

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// An operation of SQS, the IAM action it needs (batch operations need the action of the single one), and who calls it on
// which queue.
type operation struct {
	name, action string
	roles        []role
}

// A role is a principal and the queue its statement is about.
type role struct{ who, queue string }

const (
	queueARN = "arn:aws:sqs:REGION:ACCOUNT:QUEUE"
	deadARN  = "arn:aws:sqs:REGION:ACCOUNT:QUEUE-dead"
)

var operations = []operation{
	{"SendMessageBatch", "sqs:SendMessage", []role{{"client", queueARN}, {"worker", queueARN}, {"worker", deadARN}, {"redrive", queueARN}}},
	{"ReceiveMessage", "sqs:ReceiveMessage", []role{{"worker", queueARN}, {"redrive", deadARN}}},
	{"DeleteMessageBatch", "sqs:DeleteMessage", []role{{"worker", queueARN}, {"redrive", deadARN}}},
	{"ChangeMessageVisibilityBatch", "sqs:ChangeMessageVisibility", []role{{"worker", queueARN}, {"redrive", deadARN}}},
	{"GetQueueAttributes", "sqs:GetQueueAttributes", []role{{"worker", queueARN}, {"preflight", queueARN}, {"preflight", deadARN}, {"server-side move", queueARN}, {"server-side move", deadARN}}},
	{"StartMessageMoveTask", "sqs:StartMessageMoveTask", []role{{"server-side move", deadARN}}},
}

// moveNeeds are the actions that a move task performs with the caller's rights.
var moveNeeds = []struct{ action, queue string }{
	{"sqs:ReceiveMessage", deadARN}, {"sqs:DeleteMessage", deadARN}, {"sqs:SendMessage", queueARN},
}

func operationsUsed() (names []string) {
	for _, o := range operations {
		names = append(names, o.name)
	}
	return names
}

type statement struct {
	Effect   string
	Action   []string
	Resource string
}

// policyDoc renders docs/iam.md.
func policyDoc() string {
	who := map[string]map[string][]string{}
	add := func(principal, queue, action string) {
		if who[principal] == nil {
			who[principal] = map[string][]string{}
		}
		who[principal][queue] = append(who[principal][queue], action)
	}
	for _, o := range operations {
		for _, r := range o.roles {
			add(r.who, r.queue, o.action)
		}
	}
	for _, m := range moveNeeds {
		add("server-side move", m.queue, m.action)
	}
	var b strings.Builder
	b.WriteString("# IAM policies\n\nGenerated from the table of operations in `queue/sqsqueue`, which a test compares with the requests it makes; do not edit.\n")
	b.WriteString("Regenerate: `HOLDFAST_UPDATE=1 go test ./queue/sqsqueue -run TestPolicies`.\n\n")
	b.WriteString("Replace REGION, ACCOUNT and QUEUE, and repeat for every Region: a process must reach the queues of all Regions that its `queue.Regional` has.\n")
	b.WriteString("With a KMS key add `kms:GenerateDataKey` and `kms:Decrypt` on it for senders, `kms:Decrypt` for receivers; use a multi-Region key.\n")
	b.WriteString("With claims add `s3:PutObject` for clients, workers (they send copies) and redrives, `s3:GetObject` and `s3:DeleteObject` for workers and redrives, on the bucket's prefix.\n")
	for _, principal := range []string{"client", "worker", "preflight", "redrive", "server-side move"} {
		var statements []statement
		for _, queue := range slices.Sorted(maps.Keys(who[principal])) {
			actions := who[principal][queue]
			slices.Sort(actions)
			statements = append(statements, statement{"Allow", slices.Compact(actions), queue})
		}
		policy, err := json.MarshalIndent(map[string]any{"Version": "2012-10-17", "Statement": statements}, "", "  ")
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(&b, "\n## %s\n\n```json\n%s\n```\n", principal, policy)
	}
	return b.String()
}
