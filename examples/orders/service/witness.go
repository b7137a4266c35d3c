package service

import (
	"context"

	"github.com/holdfast-go/holdfast/failover"
)

// Witness votes from a third Region until ctx ends: it probes the databases of both and never serves. Of p it uses Regions, Witnesses, Self, Instance,
// Coordinator, Database, SQL, Settings and Logger.
func Witness(ctx context.Context, p Parts) error {
	s := &Service{parts: p}
	ctl, err := failover.NewController(failover.ControllerConfig{
		Name: "orders", Role: failover.RoleWitness, Regions: p.Regions, Self: p.Self, Instance: p.Instance,
		Witnesses: p.Witnesses, Coordinator: p.Coordinator, Automatic: !p.Settings.ByApproval, LeaseTTL: p.Settings.LeaseTTL, PollEvery: p.Settings.PollEvery,
		MaxFlight: p.Settings.MaxFlight, RPO: p.Settings.RPO, Cooldown: p.Settings.Cooldown, MaxMoves: p.Settings.MaxMoves, Logger: p.Logger,
	})
	if err != nil {
		return err
	}
	if _, err := failover.New(ctl, s.databases(), failover.ClientConfig{Name: "orders-db", ProbeEvery: p.Settings.ProbeEvery, ProbeTimeout: p.Settings.ProbeTimeout, Classify: p.Database.Classify}); err != nil {
		return err
	}
	return ctl.Run(ctx)
}
