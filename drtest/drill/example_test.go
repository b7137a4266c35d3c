//go:build unix

package drill_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/drtest/drill"
	"github.com/holdfast-go/holdfast/drtest/fault"
)

// A drill loses a Region for a moment; its evidence is checked by whoever reads it.
func Example() {
	dir := holdfast.Must(os.MkdirTemp("", "drill"))
	defer os.RemoveAll(dir)
	w := holdfast.Must(drtest.NewReal(context.Background(), drtest.Config{Settle: 300 * time.Millisecond}))
	defer w.Close()
	for _, name := range []string{"us-east-1", "us-west-2"} {
		w.Region(name).Serve("api."+name, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	}
	client := w.Region("users").HTTPClient()
	w.Load(drtest.Load{Name: "orders", Rate: drtest.Constant(20), Do: func(ctx context.Context, _ *drtest.Op) error {
		return anyOf(ctx, client, "http://api.us-east-1/", "http://api.us-west-2/")
	}})

	config := drill.Config{
		Name: "monthly loss of us-east-1", Operators: []string{"ana"}, Approvals: []string{"ben"},
		Scenario: drtest.Timeline("lose us-east-1", drtest.At(200*time.Millisecond, fault.RegionDown("us-east-1", fault.ModeReset)).For(300*time.Millisecond)),
		Allow:    []string{"us-east-1"}, RTO: 5 * time.Second, Longest: time.Minute,
		Stop:  []drill.Condition{drill.ErrorShare(0.5, 10*time.Second)},
		Lease: filepath.Join(dir, "drill.lease"), Evidence: filepath.Join(dir, "evidence"),
	}
	result := holdfast.Must(drill.Run(context.Background(), w, config))
	fmt.Println(result.Outcome, "-", result.Reason)

	evidence, digest, err := drill.Verify(config.Evidence)
	fmt.Println(evidence.Name, evidence.Outcome, digest == result.Digest, err)

	page := filepath.Join(config.Evidence, "report.txt")
	_ = os.WriteFile(page, []byte("all went well"), 0o644)
	_, _, err = drill.Verify(config.Evidence)
	fmt.Println("edited:", err != nil)
	// Output:
	// passed - every check passed
	// monthly loss of us-east-1 passed true <nil>
	// edited: true
}

func anyOf(ctx context.Context, client *http.Client, urls ...string) (err error) {
	for _, url := range urls {
		var req *http.Request
		if req, err = http.NewRequestWithContext(ctx, http.MethodGet, url, nil); err != nil {
			return err
		}
		var resp *http.Response
		if resp, err = client.Do(req); err == nil {
			return resp.Body.Close()
		}
	}
	return err
}
