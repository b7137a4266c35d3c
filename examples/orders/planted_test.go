package main

import (
	"flag"
	"slices"
	"strings"
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

// Each bug, and the part of the menu of TestComposition among which it is looked for; nil is all of it.
var bugs = []struct {
	bug  planted.Bug
	part func(fault.Fault) bool
}{
	{planted.ShortRetention, nil},
	{planted.UnknownReleases, nil},
	{planted.TryUnguarded, nil},
	{planted.LastAttempt, ofDatabases},
	{planted.NoResync, ofKeys},
	{planted.RampUnplanned, nil},
	{planted.OpenCounts, nil},
	{planted.StaleRuns, nil},
	{planted.ZeroRequeue, nil},
	{planted.DrainReversed, nil},
}

// ofDatabases are the faults of databases and of the ways to them, but for replication.
func ofDatabases(f fault.Fault) bool {
	return f.Zone == embedded.Databases || strings.HasSuffix(f.To, "/"+embedded.Databases)
}

// ofKeys are the faults of the key stores.
func ofKeys(f fault.Fault) bool {
	return f.Host == redisIn(embedded.East) || f.Host == redisIn(embedded.West)
}

// TestPlanted shows that the search would notice: each defect breaks an invariant in the timeline that the search has found for it, among the same disasters as
// TestComposition plays. That replays the same timelines without the defects.
func TestPlanted(t *testing.T) {
	if raceEnabled && !*searchFlag {
		t.Skip("replays of planted bugs run without the race detector, which costs ten times as much: make planted")
	}
	thrifty(t)
	for _, b := range bugs {
		t.Run(string(b.bug), func(t *testing.T) {
			t.Cleanup(planted.Plant(b.bug))
			c := newComposition()
			config := c.config(drtest.NoSearch)
			if *searchFlag {
				config.Seeds = plantedSeeds
				config.World.Seed, config.ShrinkBudget = *firstFlag, 30*time.Second
				t.Setenv("HOLDFAST_UPDATE", "1")
			}
			config.Bug = string(b.bug)
			if b.part != nil {
				config.Faults = slices.DeleteFunc(config.Faults, func(f fault.Fault) bool { return !b.part(f) })
			}
			t.Logf("\n%v", drtest.Explore(t, config, c.disaster))
		})
	}
}
