// Package failoversql makes *sql.DB a failover client: transactions that carry the write epoch, and the database checks it.
//
//	dialect := failoversql.PostgreSQL()
//	db, err := failover.New(ctl, []failover.Member[*sql.DB]{
//		failoversql.Member(dialect, "us-east-1", east),
//		failoversql.Member(dialect, "us-west-2", west),
//	}, failover.ClientConfig{Name: "orders-db", Classify: dialect.Classify})
//	…
//	id, err := failoversql.Tx(ctx, db, func(ctx context.Context, tx *sql.Tx) (int64, error) {
//		var id int64
//		return id, tx.QueryRowContext(ctx, `insert into orders … returning id`).Scan(&id)
//	})
//
// # What the fence does
//
// [Dialect.Install] creates a table with one row: the highest epoch the database has learned. [Tx] begins a transaction, takes a shared
// advisory lock, compares its epoch with the row, runs the function and commits. Raising the epoch takes the lock exclusively, so it
// waits for every transaction that passed the check, and every later one fails it. Readers and writers do not block each
// other: a shared lock and a read of one row that does not change.
//
// That is one round trip more than a transaction without a fence. Pools made with [Connector] save it: their sessions take the lock once and
// keep it, or the check travels with BEGIN.
//
// # What the roles must be allowed to do
//
// [Dialect.Install] makes tables and functions: run it as the role that owns the schema. The role of [Tx], [Member] and [Beat] needs
//
//	grant select, update on holdfast_fence to app;
//	grant select, insert, update on holdfast_heartbeat to app;
//	grant select, insert on holdfast_unknown_writes to app;
//
// Over pools of a [Connector] raising the epoch ends the sessions that hold the fence, with pg_terminate_backend. The server lets a role do
// that to sessions of its own, of roles that it is a member of, and, as a member of pg_signal_backend, to all but a superuser's. After a
// failover the first write raises the epoch, whoever makes it: where services with several roles share a database, each needs
//
//	grant pg_signal_backend to app;
//
// and so does an operator's role that fences the old side. Without it raising fails (SQLSTATE 42501) and changes nothing: the new writer writes nothing until
// the grant is there or the sessions have ended.
//
// # Which side it protects
//
// Per-Region databases: the OLD side is protected by the lease (its writers stop by themselves) and by FenceOld (raise the epoch
// there, if it can be reached); the token in the old database stops a delayed writer only once the database has learned the
// new epoch. The NEW side is protected by the token alone: the promoted copy learns the epoch from its first writer, and a writer of
// an older epoch that was redirected there is refused.
//
// # Outcomes
//
// What fails before COMMIT is sent did not happen, whatever became of the connection: the database rolls back. A COMMIT whose
// answer was lost is unknown. [Tx] marks both.
//
// # Replication
//
// [Beat] writes the heartbeat row from which Member.Lag tells how far a copy has come. Run it in every instance; it writes only where
// the database is a primary, and goes on while the application is fenced.
package failoversql
