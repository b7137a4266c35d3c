package simnet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A record is what the simulated DNS answers for a name.
type record struct {
	ttl   time.Duration
	addrs []netip.Addr
}

// DNS response codes and types, RFC 1035 §3.2 and §4.1.1.
const (
	rcodeFormat   = 1
	rcodeFailure  = 2
	rcodeNotFound = 3
	typeA         = 1
	classIN       = 1
)

// defaultTTL is the TTL of a host's own address, as of a Route 53 alias to a load balancer.
const defaultTTL = 60 * time.Second

// SetRecord makes the simulated DNS answer a name with IPv4 addresses. A host that listens has a record
// already; SetRecord takes its place. Without addresses the name does not exist.
func (n *Net) SetRecord(name string, ttl time.Duration, addrs ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.records[canonical(name)] = record{ttl, slices.Clone(addrs)}
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// lookup returns the record of a name, as callers in a zone see it.
func (n *Net) lookup(zone, name string) (record, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name = canonical(name)
	records := n.records
	if s := n.spoiledLocked(zone, name); s != nil && s.fault == NameStale {
		records = s.records
	}
	if r, ok := records[name]; ok {
		return r, len(r.addrs) > 0
	}
	if h, ok := n.hosts[name]; ok {
		return record{defaultTTL, []netip.Addr{h.addr}}, true
	}
	return record{}, false
}

// ServeDNS makes a host in a zone answer DNS over TCP on port 53 for every record of the network, until
// [Net.Close]. Links and faults act on it as on any other host.
func (n *Net) ServeDNS(zone, host string) error {
	l, err := n.Listen(zone, net.JoinHostPort(host, "53"))
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go n.answerAll(zone, c)
		}
	}()
	return nil
}

// Resolver returns the Go resolver for a caller in a zone that asks a DNS host. Where it is to run in more
// than one bubble of a process, the resolver must be used once outside any bubble first: package net
// keeps a channel.
func (n *Net) Resolver(zone, host string) *net.Resolver {
	dial := n.Dialer(zone)
	return &net.Resolver{
		PreferGo: true, StrictErrors: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if ip, ok := n.Addr(host); ok {
				return dial(ctx, "tcp", net.JoinHostPort(ip.String(), "53"))
			}
			return dial(ctx, "tcp", net.JoinHostPort(host, "53"))
		},
	}
}

// answerAll serves one connection. Messages have a length prefix of two bytes, RFC 1035 §4.2.2.
func (n *Net) answerAll(zone string, c net.Conn) {
	defer func() { _ = c.Close() }()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		if len(query) < 12 {
			return
		}
		answer := n.answer(zone, query)
		if answer == nil {
			continue
		}
		out := binary.BigEndian.AppendUint16(nil, uint16(len(answer)))
		if _, err := c.Write(append(out, answer...)); err != nil {
			return
		}
	}
}

// answer returns the response to a query of at least 12 bytes; nil = none.
func (n *Net) answer(zone string, query []byte) []byte {
	name, question, kind, err := parseQuestion(query)
	if err != nil {
		return response(query, nil, rcodeFormat, 0)
	}
	switch n.nameFault(zone, name) {
	case NameNotFound:
		return response(query, question, rcodeNotFound, 0)
	case NameServerFailure:
		return response(query, question, rcodeFailure, 0)
	case NameTimeout:
		return nil
	}
	r, ok := n.lookup(zone, name)
	if !ok {
		return response(query, question, rcodeNotFound, 0)
	}
	if kind != typeA {
		return response(query, question, 0, 0)
	}
	out := response(query, question, 0, len(r.addrs))
	for _, a := range r.addrs {
		out = append(out, 0xc0, 12) // a pointer to the name in the question
		out = binary.BigEndian.AppendUint16(out, typeA)
		out = binary.BigEndian.AppendUint16(out, classIN)
		out = binary.BigEndian.AppendUint32(out, uint32(r.ttl/time.Second))
		ip := a.As4()
		out = append(binary.BigEndian.AppendUint16(out, 4), ip[:]...)
	}
	return out
}

// response returns header and question of an authoritative answer.
func response(query, question []byte, rcode byte, answers int) []byte {
	questions := 0
	if question != nil {
		questions = 1
	}
	out := append([]byte{}, query[:2]...)
	out = append(out, 0x84|query[2]&1, 0x80|rcode) // response, authoritative, recursion as asked and available
	for _, count := range []int{questions, answers, 0, 0} {
		out = binary.BigEndian.AppendUint16(out, uint16(count))
	}
	return append(out, question...)
}

var errQuestion = errors.New("malformed question")

// parseQuestion reads the one question of a query.
func parseQuestion(query []byte) (name string, question []byte, kind uint16, err error) {
	if binary.BigEndian.Uint16(query[4:]) != 1 {
		return "", nil, 0, fmt.Errorf("simnet: dns: %w: not one question", errQuestion)
	}
	var labels []string
	at := 12
	for {
		if at >= len(query) {
			return "", nil, 0, fmt.Errorf("simnet: dns: %w: name not ended", errQuestion)
		}
		size := int(query[at])
		at++
		if size == 0 {
			break
		}
		if size > 63 || at+size > len(query) {
			return "", nil, 0, fmt.Errorf("simnet: dns: %w: label of %d bytes", errQuestion, size)
		}
		labels = append(labels, string(query[at:at+size]))
		at += size
	}
	if at+4 > len(query) {
		return "", nil, 0, fmt.Errorf("simnet: dns: %w: no type and class", errQuestion)
	}
	return strings.Join(labels, "."), query[12 : at+4], binary.BigEndian.Uint16(query[at:]), nil
}
