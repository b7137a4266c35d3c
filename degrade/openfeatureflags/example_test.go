package openfeatureflags_test

import (
	"context"
	"fmt"

	"github.com/open-feature/go-sdk/openfeature"
	"github.com/open-feature/go-sdk/openfeature/memprovider"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/degrade/openfeatureflags"
)

func Example() {
	ctx := context.Background()
	provider := memprovider.NewInMemoryProvider(map[string]memprovider.InMemoryFlag{
		"degrade.checkout": {State: memprovider.Enabled, DefaultVariant: "outage", Variants: map[string]any{"outage": "read-only"}},
	})
	if err := openfeature.SetNamedProviderWithContextAndWait(ctx, "shop", provider); err != nil {
		fmt.Println(err)
	}
	flags := holdfast.Must(openfeatureflags.New(openfeature.NewClient("shop"), openfeatureflags.Config{}))
	set, err := flags.Load(ctx, []string{"checkout", "search"})
	fmt.Println(set.Levels, err)
	// Output: map[checkout:read-only] <nil>
}
