package flags_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/degrade/flags"
)

func ExampleFile() {
	dir := holdfast.Must(os.MkdirTemp("", "flags"))
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "flags.json")
	_ = os.WriteFile(path, []byte(`{"version": "7", "levels": {"checkout": "read-only"}}`), 0o600)
	set, err := flags.File(path).Load(context.Background(), nil)
	fmt.Println(set.Version, set.Levels, err)
	// Output: 7 map[checkout:read-only] <nil>
}

func ExampleChain() {
	_ = os.Setenv("SHOP_LEVEL_CHECKOUT", "limited")
	defer func() { _ = os.Unsetenv("SHOP_LEVEL_CHECKOUT") }()
	provider := holdfast.Must(flags.Chain(flags.File("/nowhere/flags.json"), flags.Env("SHOP_LEVEL_")))
	set, err := provider.Load(context.Background(), []string{"checkout"})
	fmt.Println(set.Version, set.Levels, err)
	// Output: environment map[checkout:limited] <nil>
}
