package main

import (
	"flag"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/internal/planted"
)

// plantedSeeds is within how many seeds the search must find each planted bug.
const plantedSeeds = 200

var (
	searchFlag = flag.Bool("search", false, "TestPlanted searches for every planted bug anew, instead of replaying what was found")
	shrinkFlag = flag.Duration("shrink", 30*time.Second, "processor time that -search spends on shrinking what it finds")
)

var bugs = []planted.Bug{
	planted.ShortRetention, planted.UnknownReleases, planted.TryUnguarded, planted.LastAttempt, planted.NoResync,
	planted.RampUnplanned, planted.OpenCounts, planted.StaleRuns, planted.ZeroRequeue, planted.DrainReversed, planted.NoBudget,
}

// TestPlanted shows that the search would notice: each defect breaks an invariant in the timeline that the search has found for it, among the same disasters as
// TestComposition plays. That replays the same timelines without the defects.
func TestPlanted(t *testing.T) {
	if raceEnabled && !*searchFlag {
		t.Skip("replays of planted bugs run without the race detector, which costs ten times as much: make planted")
	}
	thrifty(t)
	for _, b := range bugs {
		t.Run(string(b), func(t *testing.T) {
			t.Cleanup(planted.Plant(b))
			c := newComposition()
			config := c.config(drtest.NoSearch)
			if *searchFlag {
				config.Seeds = plantedSeeds
				config.World.Seed, config.ShrinkBudget = *firstFlag, *shrinkFlag
				t.Setenv("HOLDFAST_UPDATE", "1")
			}
			config.Bug = string(b)
			t.Logf("\n%v", drtest.Explore(t, config, c.disaster))
		})
	}
}
