package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/failover/runbook/steps"
)

// outage is the runbook of seven steps for the loss of the writer Region. The controllers act, by their own decision and by the runbook in
// promotion.go; this one follows, stops where a person must look, and is the record of what happened.
func (f *fleet) outage(lost failover.Region, postMortem string, facts func() string) (*runbook.Runbook, error) {
	detect := watch("detect", "detect", func() error {
		if d := f.status(); d.Health[lost] != failover.HealthUnhealthy && d.Writer == lost {
			return fmt.Errorf("%s is %v", lost, d.Health[lost])
		}
		return nil
	})
	assess := watch("assess", "assess", func() error {
		move := f.move(lost)
		switch {
		case move == nil:
			return errors.New("the group has not decided")
		case !move.Exposure.Known:
			return errors.New("nobody knows what would be lost")
		case move.Exposure.Bound > rpo:
			return fmt.Errorf("up to %v would be lost; a person must accept that", move.Exposure.Bound)
		}
		return nil
	})
	promote := watch("promote database", "promote", f.promoted(lost, "promote the database"))
	restore := watch("restore state", "restore", f.promoted(lost, "restore state"))
	traffic := watch("switch traffic", "open", func() error {
		if d := f.status(); d.Writer == lost || d.Writer == "" {
			return fmt.Errorf("phase %v, writer %q", d.Phase, d.Writer)
		}
		return nil
	})
	validate := steps.SmokeTest("validate", func(ctx context.Context) error {
		region, err := f.place(ctx, "smoke-"+runbook.RunID(ctx))
		if err == nil && region == lost {
			err = fmt.Errorf("served by %s", region)
		}
		return err
	})
	validate.Once = true
	return inOrder("region outage", detect, assess, promote, restore, traffic, validate, writeDown("post-mortem", postMortem, facts))
}

// move is the move away from the lost Region, under way or done.
func (f *fleet) move(lost failover.Region) *failover.Transition {
	d := f.status()
	for _, t := range []*failover.Transition{d.Transition, d.Last} {
		if t != nil && t.From == lost {
			return t
		}
	}
	return nil
}

// promoted says whether the promotion's runbook has done the step.
func (f *fleet) promoted(lost failover.Region, step string) func() error {
	return func() error {
		move := f.move(lost)
		if move == nil {
			return errors.New("no move")
		}
		book, err := promotion(f.dbs, *move)
		if err != nil {
			return err
		}
		rep, err := book.Report(context.Background(), move.ID, f.book.Journal)
		if err != nil {
			return err
		}
		for _, s := range rep.Steps {
			if s.Name == step && s.State != string(runbook.EventDone) {
				return fmt.Errorf("%s: %s %s", s.Name, s.State, rep.Stopped)
			}
		}
		return nil
	}
}

// watch is a step that waits until seen returns nil.
func watch(name, phase string, seen func() error) runbook.Step {
	step := steps.SmokeTest(name, func(context.Context) error { return seen() })
	step.Phase, step.Once, step.Timeout = phase, true, rto
	return step
}

// writeDown writes facts to a file, for those who meet about it.
func writeDown(name, path string, facts func() string) runbook.Step {
	return runbook.Step{
		Name: name, Phase: "post-mortem",
		Check: func(context.Context) (runbook.State, error) {
			if _, err := os.Stat(path); err != nil {
				return runbook.StateNeeded, nil
			}
			return runbook.StateDone, nil
		},
		Do: func(context.Context) error { return os.WriteFile(path, []byte(facts()), 0o644) },
	}
}

// inOrder is a runbook in which each step needs the one before it.
func inOrder(name string, list ...runbook.Step) (*runbook.Runbook, error) {
	for i := range list[1:] {
		list[i+1].Needs = append(list[i+1].Needs, list[i].Name)
	}
	return runbook.New(name, list...)
}
