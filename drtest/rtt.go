package drtest

import (
	"time"

	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// A Matrix holds round-trip times between pairs of Regions; the order within a pair does not matter.
type Matrix map[[2]string]time.Duration

// RTT sets the latency between every listed pair of Regions to half the round trip, in both directions. The
// Regions need not exist yet. Pairs nobody listed have 60 ms.
func (w *World) RTT(m Matrix) {
	for pair, rtt := range m {
		w.net.SetLinks(pair[0], pair[1], simnet.Shape{Latency: rtt / 2})
	}
}

// AWSRTT returns round trips between common AWS Regions: medians over a year, 2024–2025, of the TCP
// measurements published by CloudPing.co (github.com/mda590/cloudping.co), rounded to whole milliseconds.
// Both directions were within 3 ms of each other.
func AWSRTT() Matrix {
	m := Matrix{}
	for from, row := range map[string]map[string]int{
		"us-east-1": {
			"us-east-2": 16, "us-west-1": 64, "us-west-2": 64, "ca-central-1": 16, "eu-west-1": 70, "eu-west-2": 78, "eu-west-3": 84,
			"eu-central-1": 93, "eu-north-1": 112, "ap-northeast-1": 150, "ap-southeast-1": 219, "ap-southeast-2": 200, "ap-south-1": 190,
		},
		"us-east-2": {
			"us-west-1": 53, "us-west-2": 51, "ca-central-1": 28, "eu-west-1": 81, "eu-west-2": 89, "eu-central-1": 104,
			"ap-northeast-1": 136, "ap-southeast-1": 204, "ap-southeast-2": 189,
		},
		"us-west-1": {"us-west-2": 22, "ca-central-1": 80, "eu-west-1": 130, "eu-west-2": 148, "eu-central-1": 153, "ap-northeast-1": 108},
		"us-west-2": {
			"ca-central-1": 61, "eu-west-1": 118, "eu-west-2": 129, "eu-central-1": 143, "ap-northeast-1": 98, "ap-southeast-1": 160,
			"ap-southeast-2": 141,
		},
		"ca-central-1":   {"eu-west-1": 69, "eu-west-2": 79, "eu-central-1": 93, "ca-west-1": 50},
		"eu-west-1":      {"eu-west-2": 14, "eu-west-3": 20, "eu-central-1": 27, "eu-north-1": 41, "ap-northeast-1": 202, "ap-southeast-1": 179},
		"eu-west-2":      {"eu-west-3": 11, "eu-central-1": 18, "eu-north-1": 31},
		"eu-west-3":      {"eu-central-1": 12, "eu-north-1": 32},
		"eu-central-1":   {"eu-north-1": 23, "ap-northeast-1": 227, "ap-southeast-1": 161},
		"ap-northeast-1": {"ap-northeast-3": 10, "ap-southeast-1": 71, "ap-southeast-2": 106},
		"ap-southeast-1": {"ap-southeast-2": 95, "ap-south-1": 64},
		"ap-southeast-2": {"ap-southeast-4": 14},
	} {
		for to, ms := range row {
			m[[2]string{from, to}] = time.Duration(ms) * time.Millisecond
		}
	}
	return m
}
