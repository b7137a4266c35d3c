// Package openfeatureflags lets degrade take its flags from any OpenFeature provider.
//
//	openfeature.SetProviderAndWait(provider)
//	flags, err := openfeatureflags.New(openfeature.NewClient("shop"), openfeatureflags.Config{})
//	c, err := degrade.New(degrade.Config{Provider: flags, LastKnownGood: "/var/lib/shop/degrade.state"})
//
// The string flag "degrade.checkout" is the level of feature checkout: normal, limited, read-only or offline; "degrade.all" is that of all
// features. A flag that does not exist, or is disabled, does not affect its feature.
//
// Flags are evaluated by degrade's refresh loop and never by a request. A provider that is not ready, in error or fatal, and an
// evaluation that fails or is answered with the caller's default, refuse the set: OpenFeature would go on with code defaults, degrade goes on
// with the last good set. A provider that is STALE serves rules it knows, which are used.
package openfeatureflags

import (
	"context"
	"errors"
	"fmt"

	"github.com/open-feature/go-sdk/openfeature"

	"github.com/holdfast-go/holdfast/degrade"
)

// A Client is what is used of [openfeature.Client].
type Client interface {
	State() openfeature.State
	StringValueDetails(ctx context.Context, flag, defaultValue string, evalCtx openfeature.EvaluationContext, options ...openfeature.Option) (openfeature.StringEvaluationDetails, error)
	AddHandler(openfeature.EventType, openfeature.EventCallback)
	RemoveHandler(openfeature.EventType, openfeature.EventCallback)
}

// Config configures [Flags]. The zero value is ready to use.
type Config struct {
	// Prefix is put before a feature's name to make its flag's key; "" = "degrade.".
	Prefix string

	// Context is the evaluation context, such as the Region and the instance.
	Context openfeature.EvaluationContext
}

// Flags is a degrade.Provider and degrade.Watcher.
type Flags struct {
	client Client
	cfg    Config
}

// New returns Flags of client.
func New(client Client, cfg Config) (*Flags, error) {
	if client == nil {
		return nil, errors.New("openfeatureflags: New: a nil client")
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "degrade."
	}
	return &Flags{client, cfg}, nil
}

// all is the flag of every feature, without the prefix.
const all = "all"

// Load implements degrade.Provider.
func (f *Flags) Load(ctx context.Context, features []string) (degrade.FlagSet, error) {
	switch state := f.client.State(); state {
	case openfeature.ReadyState, openfeature.StaleState:
	default:
		return degrade.FlagSet{}, fmt.Errorf("openfeatureflags: the provider's state is %s", state)
	}
	set := degrade.FlagSet{Version: "OpenFeature", Levels: map[string]degrade.Level{}}
	if err := f.read(ctx, &set, degrade.All, all); err != nil {
		return degrade.FlagSet{}, err
	}
	for _, feature := range features {
		if feature == all {
			return degrade.FlagSet{}, fmt.Errorf("openfeatureflags: the flag %q is for all features and for the one of that name", f.cfg.Prefix+all)
		}
		if err := f.read(ctx, &set, feature, feature); err != nil {
			return degrade.FlagSet{}, err
		}
	}
	return set, nil
}

// unset is no level, so that an answer with the default is told from a flag's value.
const unset = ""

func (f *Flags) read(ctx context.Context, set *degrade.FlagSet, feature, key string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("openfeatureflags: %w", err)
	}
	key = f.cfg.Prefix + key
	details, err := f.client.StringValueDetails(ctx, key, unset, f.cfg.Context)
	switch {
	case details.ErrorCode == openfeature.FlagNotFoundCode:
		return nil
	case err != nil:
		return fmt.Errorf("openfeatureflags: flag %q: %w", key, err)
	case details.Value == unset && details.Reason == openfeature.DisabledReason:
		return nil
	case details.Value == unset:
		return fmt.Errorf("openfeatureflags: flag %q was answered with the default (reason %s): is a provider set?", key, details.Reason)
	}
	level, err := degrade.ParseLevel(details.Value)
	if err != nil {
		return fmt.Errorf("openfeatureflags: flag %q: %w", key, err)
	}
	set.Levels[feature] = level
	return nil
}

// Watch implements degrade.Watcher by the provider's events.
func (f *Flags) Watch(ctx context.Context, changed func()) error {
	callback := func(openfeature.EventDetails) { changed() }
	for _, event := range []openfeature.EventType{openfeature.ProviderReady, openfeature.ProviderConfigChange} {
		f.client.AddHandler(event, &callback)
		defer f.client.RemoveHandler(event, &callback)
	}
	<-ctx.Done()
	return nil
}
