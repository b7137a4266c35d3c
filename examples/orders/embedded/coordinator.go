package embedded

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/drtest"
	"github.com/holdfast-go/holdfast/failover"
)

// coordinatorHost is a service in the third Region that keeps the fleet's decision: what a table of DynamoDB is in production.
const coordinatorHost = "coordinator.internal"

// ServeCoordinator runs it. It survives the loss of either Region, because it lives in neither. stored is told of every record.
func ServeCoordinator(r *drtest.Region, stored func(failover.Record)) {
	memory := failover.NewMemoryCoordinator(East, West)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /record", func(w http.ResponseWriter, r *http.Request) {
		record, err := memory.Load(r.Context())
		reply(w, record, err)
	})
	mux.HandleFunc("PUT /record/{sequence}", func(w http.ResponseWriter, r *http.Request) {
		var next failover.Record
		sequence, err := strconv.ParseUint(r.PathValue("sequence"), 10, 64)
		if err == nil {
			err = json.NewDecoder(r.Body).Decode(&next)
		}
		if err == nil {
			err = memory.CompareAndSwap(r.Context(), sequence, next)
		}
		if err == nil {
			stored(next)
		}
		reply(w, nil, err)
	})
	mux.HandleFunc("PUT /vote", func(w http.ResponseWriter, r *http.Request) {
		var vote failover.Vote
		err := json.NewDecoder(r.Body).Decode(&vote)
		if err == nil {
			err = memory.Vote(r.Context(), vote)
		}
		reply(w, nil, err)
	})
	mux.HandleFunc("GET /votes", func(w http.ResponseWriter, r *http.Request) {
		votes, err := memory.Votes(r.Context())
		reply(w, votes, err)
	})
	r.Serve(coordinatorHost, mux)
}

// statuses of the coordinator's errors.
var statuses = map[error]int{nil: http.StatusOK, failover.ErrNoRecord: http.StatusNotFound, failover.ErrConflict: http.StatusConflict}

func reply(w http.ResponseWriter, v any, err error) {
	status, ok := statuses[err]
	if !ok {
		status = http.StatusInternalServerError
	}
	w.WriteHeader(status)
	if err == nil {
		_ = json.NewEncoder(w).Encode(v)
	}
}

// A coordinator is a process's client of it.
type coordinator struct{ http *http.Client }

// ConnectCoordinator returns a process's way to it.
func ConnectCoordinator(from *drtest.Region) failover.Coordinator {
	return &coordinator{from.HTTPClient()}
}

// Load implements failover.Coordinator, as all that follows.
func (c *coordinator) Load(ctx context.Context) (record failover.Record, err error) {
	return record, c.do(ctx, http.MethodGet, "record", nil, &record)
}

func (c *coordinator) CompareAndSwap(ctx context.Context, sequence uint64, next failover.Record) error {
	return c.do(ctx, http.MethodPut, "record/"+strconv.FormatUint(sequence, 10), next, nil)
}

func (c *coordinator) Vote(ctx context.Context, v failover.Vote) error {
	return c.do(ctx, http.MethodPut, "vote", v, nil)
}

func (c *coordinator) Votes(ctx context.Context) (votes []failover.Vote, err error) {
	return votes, c.do(ctx, http.MethodGet, "votes", nil, &votes)
}

// Info says what is true of the simulated third Region.
func (c *coordinator) Info() failover.CoordinatorInfo {
	return failover.CoordinatorInfo{Name: "coordinator in " + Third, Linearizable: true, Survives: []failover.Region{East, West}}
}

func (c *coordinator) do(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+coordinatorHost+"/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode == http.StatusNotFound:
		return failover.ErrNoRecord
	case resp.StatusCode == http.StatusConflict:
		return failover.ErrConflict
	case resp.StatusCode != http.StatusOK:
		return holdfast.Unknown(fmt.Errorf("embedded: the coordinator answers %d", resp.StatusCode))
	case out == nil:
		return nil
	}
	return json.Unmarshal(answer, out)
}
