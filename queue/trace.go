package queue

import (
	"encoding/hex"

	"go.opentelemetry.io/otel/trace"
)

// traceParent is sc in the form of W3C trace context, version 00.
func traceParent(sc trace.SpanContext) string {
	var b [55]byte
	id, span := sc.TraceID(), sc.SpanID()
	b[0], b[1], b[2], b[35], b[52] = '0', '0', '-', '-', '-'
	hex.Encode(b[3:35], id[:])
	hex.Encode(b[36:52], span[:])
	hex.Encode(b[53:55], []byte{byte(sc.TraceFlags())})
	return string(b[:])
}

// spanContext reads what traceParent wrote. Anything malformed is an invalid, empty context.
func spanContext(parent, state string) trace.SpanContext {
	if len(parent) < 55 || parent[2] != '-' || parent[35] != '-' || parent[52] != '-' || parent[:2] == "ff" {
		return trace.SpanContext{}
	}
	id, err1 := trace.TraceIDFromHex(parent[3:35])
	span, err2 := trace.SpanIDFromHex(parent[36:52])
	flags, err3 := hex.DecodeString(parent[53:55])
	if err1 != nil || err2 != nil || err3 != nil {
		return trace.SpanContext{}
	}
	ts, _ := trace.ParseTraceState(state) // a malformed state is dropped, as W3C asks
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: trace.TraceFlags(flags[0]), TraceState: ts, Remote: true})
}
