package flags

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/holdfast-go/holdfast/degrade"
)

// Static returns a provider of one fixed set.
func Static(levels map[string]degrade.Level) degrade.Provider {
	return static{degrade.FlagSet{Version: "static", Levels: maps.Clone(levels)}}
}

type static struct{ set degrade.FlagSet }

func (s static) Load(context.Context, []string) (degrade.FlagSet, error) {
	if s.set.Levels == nil {
		s.set.Levels = map[string]degrade.Level{}
	}
	return s.set, nil
}

// Env returns a provider that reads the level of each feature from the environment variable that is named prefix and
// then the feature's name in upper case with '_' for '-' and '.', such as SHOP_LEVEL_CHECK_OUT=read-only. prefix and ALL is the
// level of every feature, prefix and CONFIRM=true is FlagSet.Confirm. An empty variable is as good as none. A value that is
// no level, and two features with one variable, refuse the whole set.
func Env(prefix string) degrade.Provider { return env{prefix} }

type env struct{ prefix string }

var variable = strings.NewReplacer("-", "_", ".", "_")

func (e env) Load(_ context.Context, features []string) (degrade.FlagSet, error) {
	set := degrade.FlagSet{Version: "environment", Levels: map[string]degrade.Level{}, Confirm: os.Getenv(e.prefix+"CONFIRM") == "true"}
	taken := map[string]string{e.prefix + "ALL": degrade.All, e.prefix + "CONFIRM": "confirmation"}
	if err := e.read(&set, degrade.All, e.prefix+"ALL"); err != nil {
		return degrade.FlagSet{}, err
	}
	for _, feature := range features {
		name := e.prefix + strings.ToUpper(variable.Replace(feature))
		if other, ok := taken[name]; ok {
			return degrade.FlagSet{}, fmt.Errorf("flags: environment: %s would mean both %q and %q", name, other, feature)
		}
		taken[name] = feature
		if err := e.read(&set, feature, name); err != nil {
			return degrade.FlagSet{}, err
		}
	}
	return set, nil
}

func (e env) read(set *degrade.FlagSet, feature, name string) error {
	text := os.Getenv(name)
	if text == "" {
		return nil
	}
	level, err := degrade.ParseLevel(text)
	if err != nil {
		return fmt.Errorf("flags: environment: %s: %w", name, err)
	}
	set.Levels[feature] = level
	return nil
}

// Chain returns a provider that asks providers in turn and uses the first set that loads. An error lists all of theirs. Later
// providers are for the start: once a provider has loaded, those after it are not asked any more, so that losing it is an error, which leaves the
// flags as they are. At the next start they are asked again, and a set that loads is preferred to degrade.Config.LastKnownGood: with
// that file, a chain need not end in a provider that always loads. It watches all that can be watched.
func Chain(providers ...degrade.Provider) (degrade.Provider, error) {
	if len(providers) == 0 {
		return nil, errors.New("flags: Chain of nothing")
	}
	for i, p := range providers {
		if p == nil {
			return nil, fmt.Errorf("flags: Chain: provider %d is nil", i)
		}
	}
	c := &chain{providers: slices.Clone(providers)}
	c.last.Store(int64(len(providers)))
	return c, nil
}

type chain struct {
	providers []degrade.Provider
	last      atomic.Int64 // how many of them are asked
}

func (c *chain) Load(ctx context.Context, features []string) (degrade.FlagSet, error) {
	var errs []error
	for i, p := range c.providers[:c.last.Load()] {
		set, err := p.Load(ctx, features)
		if err == nil {
			c.last.Store(int64(i + 1))
			return set, nil
		}
		errs = append(errs, err)
	}
	return degrade.FlagSet{}, errors.Join(errs...)
}

// Watch implements degrade.Watcher. It returns when all watches have ended.
func (c *chain) Watch(ctx context.Context, changed func()) error {
	var watchers []degrade.Watcher
	for _, p := range c.providers {
		if w, ok := p.(degrade.Watcher); ok {
			watchers = append(watchers, w)
		}
	}
	if len(watchers) == 0 {
		<-ctx.Done()
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ends := make(chan error, len(watchers))
	for _, w := range watchers {
		go func() { ends <- watch(ctx, w, changed) }()
	}
	err := <-ends // one that ended must be called again: all are, which is the caller's way to do it
	cancel()
	for range len(watchers) - 1 {
		err = errors.Join(err, <-ends)
	}
	return err
}

// watch turns a panic, which would end the process from a goroutine of Chain, into an error.
func watch(ctx context.Context, w degrade.Watcher, changed func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("flags: watch panicked: %v", p)
		}
	}()
	return w.Watch(ctx, changed)
}
