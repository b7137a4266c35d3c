package main

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/examples/orders/embedded"
	"github.com/holdfast-go/holdfast/internal/planted"
)

// plantedSeeds is within how many seeds the search must find each planted bug.
const plantedSeeds = 200

var searchFlag = flag.Bool("search", false, "TestPlanted searches for every planted bug anew, instead of replaying what was found")

// Each bug, and the swarm in which it is looked for; nil is that of TestComposition.
var bugs = []struct {
	bug    planted.Bug
	menu   []fault.Fault
	safety time.Duration // zero is that of TestComposition
}{
	{planted.ShortRetention, ofDeletes(), 0},
	{planted.UnknownReleases, ofPayments(), 0},
	{planted.TryUnguarded, ofPayments(), 0},
	{planted.LastAttempt, ofMoves(), 0},
	{planted.NoResync, ofKeys(), 0},
	{planted.RampUnplanned, ofRegions(), 0},
	{planted.OpenCounts, ofSQS(), 0},
	{planted.StaleRuns, ofDeletes(), 0},
	{planted.ZeroRequeue, ofPayments(), 30 * time.Second},
	{planted.DrainReversed, ofFlags(), 0},
}

func ofSQS() (menu []fault.Fault) {
	for _, region := range []string{embedded.East, embedded.West} {
		sqs := "sqs." + region + ".amazonaws.com"
		menu = append(menu, fault.Gray(sqs, 1), fault.Gray(sqs, .5), fault.Throttle(sqs, .7, 503, time.Second), fault.Duplicate(sqs, .3))
	}
	return menu
}

func ofDeletes() (menu []fault.Fault) {
	for _, region := range []string{embedded.East, embedded.West} {
		menu = append(menu, fault.Gray("sqs."+region+".amazonaws.com", 1).On("DeleteMessageBatch"), fault.Duplicate("sqs."+region+".amazonaws.com", .3))
	}
	return menu
}

func ofPayments() []fault.Fault {
	return []fault.Fault{
		fault.Gray(embedded.PaymentsHost, 1), fault.Gray(embedded.PaymentsHost, .5).WithStatus(mislaid), fault.Throttle(embedded.PaymentsHost, .5, 429, time.Second),
	}
}

func ofRegions() []fault.Fault {
	return []fault.Fault{fault.RegionDown(embedded.East, fault.ModeBlackhole), fault.RegionDown(embedded.East, fault.ModeRefuse), fault.Crash(embedded.East + "/app-0")}
}

// ofFlags leaves the deployments, of which every World has three.
func ofFlags() []fault.Fault { return []fault.Fault{fault.FlagStoreDown(redisIn(embedded.Third))} }

func ofMoves() []fault.Fault {
	return append(ofRegions(), fault.RegionDown(embedded.East, fault.ModeHang), fault.Partition(embedded.East, embedded.Third), fault.Loss(embedded.East, embedded.West, .3))
}

func ofKeys() []fault.Fault {
	return append(ofRegions(), fault.Gray(redisIn(embedded.East), 1), fault.Partition(embedded.East, embedded.West))
}

// TestPlanted shows that the search would notice: a defect breaks an invariant in the timeline that the search has found for it. TestComposition replays the same timelines
// without the defects. A defect that no search has found is skipped, and docs/orders.md says which.
func TestPlanted(t *testing.T) {
	if raceEnabled && !*searchFlag {
		t.Skip("replays of planted bugs run without the race detector, which costs ten times as much")
	}
	thrifty(t)
	for _, b := range bugs {
		t.Run(string(b.bug), func(t *testing.T) {
			if _, err := os.Stat("testdata/drtest/Composition." + string(b.bug) + ".json"); err != nil && !*searchFlag {
				t.Skip("no search has found this defect yet: docs/orders.md")
			}
			t.Cleanup(planted.Plant(b.bug))
			c := newComposition()
			config := c.config(drtest.NoSearch)
			if *searchFlag {
				config.Seeds = plantedSeeds
				t.Setenv("HOLDFAST_UPDATE", "1")
			}
			config.Bug = string(b.bug)
			if b.menu != nil {
				config.Faults = b.menu
			}
			if b.safety > 0 {
				config.Safety = b.safety
			}
			t.Logf("\n%v", drtest.Explore(t, config, c.disaster))
		})
	}
}
