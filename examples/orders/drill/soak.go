package drill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/drtest/history"
)

// A Mishap is something that goes wrong for a while. The service bears it, or the group moves the writer: both are right.
type Mishap struct {
	Name  string
	Break func() (mend func(), err error)
}

// SoakConfig says how a soak goes. Of Config it uses Rate, Clients, Give, Settle, Approve and Progress.
type SoakConfig struct {
	Config
	Length  time.Duration // 0 = 30 min
	Outages time.Duration // a full outage of the home Region every so often; 0 = 5 min, or a third of Length if that is less
	Seed    uint64        // of what goes wrong, and when
	Mishaps []Mishap      // at least one
}

// How long things last in a soak.
const (
	longestPeace  = 10 * time.Second // between two mishaps
	longestMishap = 8 * time.Second
)

// Soak lets things go wrong at random for a long time, with the loss of the home Region now and then, and closes the account of all of it. Errors are
// those of [Run]. The same seed gives the same mishaps in the same order; what they meet is the machine's.
func Soak(ctx context.Context, s System, cfg SoakConfig) (*Result, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Length == 0 {
		cfg.Length = 30 * time.Minute
	}
	if cfg.Outages == 0 {
		cfg.Outages = min(5*time.Minute, cfg.Length/3)
	}
	if len(cfg.Mishaps) == 0 || cfg.Length < 0 || cfg.Outages < 0 {
		return nil, errors.New("drill: SoakConfig: no Mishaps, or a negative Length or Outages")
	}
	d := newScript(s, cfg.Config)
	d.mishaps = map[string]int{}
	soak := &soak{d, cfg, rand.New(rand.NewPCG(cfg.Seed, 0))}
	if err := soak.play(ctx); err != nil {
		return nil, err
	}
	return d.result(ctx)
}

type soak struct {
	*script
	cfg  SoakConfig
	dice *rand.Rand
}

func (s *soak) play(ctx context.Context) error {
	if err := s.await(ctx, "a writer", func() bool { return s.writer() == s.Home }); err != nil {
		return err
	}
	load := s.users.load(s.World, s.script.cfg.Clients, s.script.cfg.Rate, 24*time.Hour)
	defer end(ctx, load)
	s.tell("load: %.0f orders/s and as many reads, open, Poisson; seed %d", s.script.cfg.Rate, s.cfg.Seed)
	start := time.Now()
	lost := start
	for time.Since(start) < s.cfg.Length {
		next := s.mishap
		if time.Since(lost) >= s.cfg.Outages {
			next, lost = s.outage, time.Now()
		}
		if err := s.goOn(ctx, next); err != nil {
			return err
		}
	}
	s.tell("the last mishap is over")
	return sleep(ctx, s.script.cfg.After)
}

// goOn waits, lets something happen, and has people put right what it left.
func (s *soak) goOn(ctx context.Context, happen func(context.Context) error) error {
	if err := sleep(ctx, time.Second+s.upTo(longestPeace)); err != nil {
		return err
	}
	s.lostAt = s.World.Elapsed()
	if err := happen(ctx); err != nil {
		return err
	}
	return s.putRight(ctx)
}

func (s *soak) upTo(d time.Duration) time.Duration {
	return time.Duration(s.dice.Int64N(int64(d))).Round(time.Millisecond)
}

// mishap lets one thing go wrong, or two at a time.
func (s *soak) mishap(ctx context.Context) error {
	chosen := s.dice.Perm(len(s.cfg.Mishaps))[:min(len(s.cfg.Mishaps), 1+s.dice.IntN(4)/3)]
	length := time.Second + s.upTo(longestMishap)
	var names []string
	for _, i := range chosen {
		m := s.cfg.Mishaps[i]
		mend, err := m.Break()
		if err != nil {
			return fmt.Errorf("drill: %s: %w", m.Name, err)
		}
		defer mend()
		names = append(names, m.Name)
		s.mishaps[m.Name]++
	}
	s.tell("for %v: %s", length, strings.Join(names, ", and "))
	return sleep(ctx, length)
}

// outage loses the home Region, has the writer moved and gives the Region back.
func (s *soak) outage(ctx context.Context) error {
	undo, err := s.Lose()
	if err != nil {
		return fmt.Errorf("drill: the loss of %s: %w", s.Home, err)
	}
	defer undo()
	s.mishaps["loss of "+s.Home]++
	lostAt := time.Now()
	s.lostAt = s.World.Elapsed()
	s.tell("%s is gone", s.Home)
	if err := s.moveAway(ctx); err != nil {
		return err
	}
	return sleep(ctx, s.script.cfg.Outage-time.Since(lostAt))
}

// putRight brings the writer home if it has moved, for whatever reason, and waits until all is steady there.
func (s *soak) putRight(ctx context.Context) error {
	var where string
	err := s.await(ctx, "a steady writer", func() bool {
		where = s.writer()
		return where != "" && s.status(where).Transition == nil
	})
	if err != nil {
		return errors.Join(err, errors.New(s.refused(s.Standby)))
	}
	if where == s.Home {
		return nil
	}
	if last := s.status(where).Last; last != nil && (len(s.moves) == 0 || s.moves[len(s.moves)-1].ID != last.ID) {
		s.tell("%s writes: the group has moved it, %s", where, last.Reason)
		s.mishaps["move by the group in a mishap"]++
		s.moves = append(s.moves, *last)
		s.World.Mark(history.MarkSwitched, where, fmt.Sprintf("move %s, epoch %d", last.ID, last.Epoch+2))
	}
	if err := s.moveBack(ctx); err != nil || s.Restore == nil {
		return err
	}
	var failed error
	err = s.await(ctx, "the rebuild of "+s.Standby, func() bool {
		failed = s.Restore(ctx)
		return failed == nil
	})
	if err != nil {
		return errors.Join(err, failed)
	}
	s.tell("%s is a copy of %s again", s.Standby, s.Home)
	return nil
}
