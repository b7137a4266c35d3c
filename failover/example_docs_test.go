package failover_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoverhttp"
	"github.com/holdfast-go/holdfast/failover/failoversql"
)

// The functions below are the pages' snippets, compiled; docs_test.go compares. They take what a program has.

var _ = []any{docsController, docsDatabase, docsCalls, docsOperators}

func docsController(coord failover.Coordinator, dialect failoversql.Dialect, dbs map[failover.Region]*sql.DB,
	promote func(context.Context, failover.Transition) error,
) (*failover.Controller, error) {
	ctl, err := failover.NewController(failover.ControllerConfig{
		Regions: []failover.Region{"us-east-1", "us-west-2"}, Self: "us-east-1", Witnesses: []failover.Region{"us-east-2"},
		Coordinator: coord, StateFile: "/var/lib/orders/failover.state", Automatic: true,
		FenceOld: failoversql.FenceOld(dialect, dbs), Promote: promote, Smoke: failoversql.Smoke(dialect, dbs),
	})
	return ctl, err
}

func docsDatabase(ctl *failover.Controller, dialect failoversql.Dialect, config pgx.ConnConfig, west *sql.DB) (*failover.Client[*sql.DB], error) {
	east := sql.OpenDB(failoversql.Connector(stdlib.GetConnector(config), func(c driver.Conn) uint32 {
		return c.(*stdlib.Conn).Conn().PgConn().PID()
	}))
	db, err := failover.New(ctl, []failover.Member[*sql.DB]{
		failoversql.Member(dialect, "us-east-1", east),
		failoversql.Member(dialect, "us-west-2", west),
	}, failover.ClientConfig{Name: "orders-db", Classify: dialect.Classify})
	return db, err
}

func docsCalls(ctx context.Context, w http.ResponseWriter, db *failover.Client[*sql.DB], dialect failoversql.Dialect, session *failover.Session, note string) (string, error) {
	text, err := failover.Read(ctx, db, func(ctx context.Context, db *sql.DB) (text string, err error) {
		return text, db.QueryRowContext(ctx, `select note from orders limit 1`).Scan(&text)
	}, failover.ReadYourWrites(session))
	if err != nil {
		return "", err
	}

	id, err := failoversql.Tx(ctx, db, dialect, func(ctx context.Context, tx *sql.Tx) (id int64, err error) {
		return id, tx.QueryRowContext(ctx, `insert into orders (note) values ($1) returning id`, note).Scan(&id)
	}, failover.InSession(session))
	if fenced, ok := errors.AsType[*failover.FencedError](err); ok {
		w.Header().Set("Retry-After", fmt.Sprint(int(fenced.RetryAfter().Seconds())))
		http.Error(w, "not the writer", http.StatusServiceUnavailable)
	}
	return fmt.Sprint(text, id), err
}

func docsOperators(ctx context.Context, ctl *failover.Controller, mux *http.ServeMux, person func(*http.Request) (string, error), id string) error {
	for _, problem := range ctl.Lint() {
		slog.Warn("failover is not ready", "field", problem.Field, "what", problem.What)
	}
	admin, err := failoverhttp.Admin(ctl, person)
	if err != nil {
		return err
	}
	mux.Handle("/failover/", http.StripPrefix("/failover", admin))

	_, err = ctl.Failover(ctx, "us-west-2", failover.Request{Reason: "game day", By: "ann", Second: "bob", Planned: true})
	if refused, ok := errors.AsType[*failover.RefusedError](err); ok {
		slog.Warn("refused", "guard", refused.Guard, "why", refused.Reason, "again_in", refused.Wait)
	}

	_, err = ctl.ApproveLoss(ctx, id, failover.AcceptLoss{Exposure: failover.UnknownExposure, Reason: "the Region is gone", By: "bob"})
	return err
}
