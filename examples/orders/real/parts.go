package real

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/drtest/sqstest"
	"github.com/holdfast-go/holdfast/examples/orders/service"
	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/failoversql"
	"github.com/holdfast-go/holdfast/failover/runbook"
	"github.com/holdfast-go/holdfast/failover/runbook/steps"
	"github.com/holdfast-go/holdfast/idempotency"
	"github.com/holdfast-go/holdfast/idempotency/redisstore"
	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/spool"
	"github.com/holdfast-go/holdfast/queue/sqsqueue"
)

// queueRetention is what sqsqueue's Check demands.
const queueRetention = 14 * 24 * time.Hour

// Open connects to everything in c. Servers that are gone do not hold it up: it is in an outage that processes are started. close lets go of all.
func Open(ctx context.Context, c Config, set service.Settings, log *slog.Logger) (p service.Parts, close func(), err error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	o := &opening{config: c, log: log}
	set.ByApproval = set.ByApproval || len(c.Witnesses) == 0
	p = service.Parts{
		Regions: []failover.Region{East, West}, Self: c.Self, Home: East, Witnesses: c.Witnesses, Instance: c.Instance, Database: Database{failoversql.PostgreSQL()},
		SQL: map[failover.Region]*sql.DB{}, Keys: map[failover.Region]idempotency.Store{}, Peers: map[failover.Region]*url.URL{}, Net: c.transport(),
		Calls: lane(), Charges: lane(), Authorize: operator, StateDir: filepath.Join(c.Dir, c.Self), Audit: os.Stderr, Logger: log, Settings: set, Coordinator: c.Coordinator,
	}
	if p.Instance == "" {
		p.Instance = c.Self + "/" + strconv.Itoa(os.Getpid())
	} else {
		p.StateDir = filepath.Join(c.Dir, strings.ReplaceAll(p.Instance, "/", "-"))
	}
	p.Promote = func(t failover.Transition) []runbook.Step { return promote(p.SQL, t) }
	for _, step := range []func(context.Context, *service.Parts) error{o.files, o.addresses, o.regions, o.tables} {
		if err := step(ctx, &p); err != nil {
			o.close()
			return p, nil, err
		}
	}
	return p, o.close, nil
}

// OpenWitness connects to what a witness in a third Region needs: the databases.
func OpenWitness(c Config, set service.Settings, log *slog.Logger) (p service.Parts, close func(), err error) {
	o := &opening{config: c, log: log}
	p = service.Parts{
		Regions: []failover.Region{East, West}, Self: c.Self, Witnesses: c.Witnesses, Instance: c.Instance, Database: Database{failoversql.PostgreSQL()},
		SQL: map[failover.Region]*sql.DB{}, Logger: log, Settings: set, Coordinator: c.Coordinator,
	}
	for name := range c.Regions {
		if p.SQL[name], err = o.database(name); err != nil {
			o.close()
			return p, nil, err
		}
	}
	return p, o.close, nil
}

// transport is the wire to other services, in a process's own pool.
func (c *Config) transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 64
	if c.Dial != nil {
		t.Proxy, t.DialContext = nil, c.Dial
	}
	return t
}

func lane() service.Lane { return service.Lane{Queues: map[failover.Region]queue.Transport{}} }

// An opening collects what has to be closed.
type opening struct {
	config Config
	log    *slog.Logger
	opened []func() error
}

func (o *opening) close() {
	for _, c := range o.opened {
		_ = c()
	}
}

// files opens what is on this machine.
func (o *opening) files(_ context.Context, p *service.Parts) (err error) {
	if err := os.MkdirAll(p.StateDir, 0o755); err != nil {
		return err
	}
	if p.Coordinator == nil {
		if p.Coordinator, err = failover.OpenFileCoordinator(filepath.Join(o.config.Dir, "coordinator"), East, West); err != nil {
			return err
		}
	}
	if p.Journal, err = runbook.OpenJournal(filepath.Join(o.config.Dir, "journal")); err != nil {
		return err
	}
	for name, l := range map[string]*service.Lane{"orders": &p.Calls, "charges": &p.Charges} {
		s, err := spool.Open(filepath.Join(p.StateDir, "spool-"+name), spool.Config{Logger: o.log})
		if err != nil {
			return err
		}
		l.Spool = s
		o.opened = append(o.opened, s.Close)
	}
	return nil
}

func (o *opening) addresses(_ context.Context, p *service.Parts) (err error) {
	if p.Payments, err = url.Parse(o.config.Payments); err != nil {
		return err
	}
	p.Mail, err = url.Parse(o.config.Mail)
	return err
}

// regions connects to each Region's servers.
func (o *opening) regions(ctx context.Context, p *service.Parts) (err error) {
	for name, at := range o.config.Regions {
		if p.SQL[name], err = o.database(name); err != nil {
			return err
		}
		if p.Keys[name], err = o.keys(name); err != nil {
			return err
		}
		if p.Peers[name], err = url.Parse(at.URL); err != nil {
			return err
		}
		api := connectSQS(name, at.SQS, o.config.sqsTransport(name))
		calls, charges := o.config.queues()
		for queue, l := range map[string]service.Lane{calls: p.Calls, charges: p.Charges} {
			if l.Queues[name], err = o.queue(ctx, api, name, queue); err != nil {
				return fmt.Errorf("real: queue %s of %s: %w", queue, name, err)
			}
		}
	}
	return nil
}

// connectTimeout bounds every dial, and every step of [Open] that asks a server.
const connectTimeout = 2 * time.Second

// database opens a pool whose sessions hold the fence: a transaction costs no round trip for it.
func (o *opening) database(region failover.Region) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(o.config.Regions[region].SQL)
	if err != nil {
		return nil, fmt.Errorf("real: database of %s: %w", region, err)
	}
	cfg.ConnectTimeout = connectTimeout
	if o.config.Dial != nil {
		cfg.DialFunc = o.config.Dial
		cfg.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	}
	if o.config.Watch.SQL != nil {
		cfg.Tracer = o.config.Watch.SQL(region)
	}
	db := sql.OpenDB(failoversql.Connector(stdlib.GetConnector(*cfg), func(c driver.Conn) uint32 { return c.(*stdlib.Conn).Conn().PgConn().PID() }))
	db.SetMaxOpenConns(32) // below what the server takes, for all processes together
	db.SetMaxIdleConns(16)
	o.opened = append(o.opened, db.Close)
	return db, nil
}

// keys opens the Region's key store.
func (o *opening) keys(region failover.Region) (idempotency.Store, error) {
	client := redis.NewClient(&redis.Options{
		Addr: o.config.Regions[region].Redis, Dialer: o.config.Dial, ContextTimeoutEnabled: true, MaxRetries: -1, MinIdleConns: 8, PoolSize: 128,
		DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second,
	})
	if o.config.Watch.Redis != nil {
		client.AddHook(o.config.Watch.Redis(region))
	}
	o.opened = append(o.opened, client.Close)
	return redisstore.New(client, redisstore.Config{Prefix: o.config.name() + ":" + region + ":"})
}

func (c *Config) sqsTransport(region failover.Region) http.RoundTripper {
	var t http.RoundTripper = &sqstest.Transport{Base: c.transport()} // real SQS needs no such wrapper
	if c.Watch.SQS != nil {
		t = c.Watch.SQS(region, t)
	}
	return t
}

// connectSQS is for servers that speak SQS without checking who asks. On AWS: sqs.NewFromConfig.
func connectSQS(region, endpoint string, wire http.RoundTripper) *sqs.Client {
	return sqs.New(sqs.Options{
		Region: region, BaseEndpoint: &endpoint, HTTPClient: &http.Client{Transport: wire},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "local", SecretAccessKey: "local"}, nil
		}),
	})
}

// account is the one that such servers know. On AWS it is yours.
const account = "000000000000"

// queue makes a queue and its dead-letter queue, if they are missing and the server is there. Their addresses follow from their names.
func (o *opening) queue(ctx context.Context, api *sqs.Client, region, name string) (*sqsqueue.Queue, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var urls [2]string
	for i, suffix := range []string{"", "-dead"} {
		urls[i] = o.config.Regions[region].SQS + "/" + account + "/" + name + suffix
		made, err := api.CreateQueue(ctx, &sqs.CreateQueueInput{
			QueueName:  aws.String(name + suffix),
			Attributes: map[string]string{"MessageRetentionPeriod": strconv.Itoa(int(queueRetention.Seconds()))},
		})
		if err != nil {
			o.log.WarnContext(ctx, "queue not made: no answer", "region", region, "queue", name+suffix, "err", err)
			continue
		}
		urls[i] = *made.QueueUrl
	}
	return sqsqueue.New(api, urls[0], sqsqueue.Config{DeadLetterURL: urls[1], Region: region, Retention: queueRetention})
}

// tables installs them in the primary; copies get them by replication.
func (o *opening) tables(ctx context.Context, p *service.Parts) error {
	ctx, cancel := context.WithTimeout(ctx, 2*connectTimeout)
	defer cancel()
	for _, db := range p.SQL {
		var copied bool
		if err := db.QueryRowContext(ctx, `select pg_is_in_recovery()`).Scan(&copied); err != nil || copied {
			continue // gone, or a copy
		}
		if err := p.Database.Install(ctx, db); err != nil {
			if p.Database.Classify(err) == failover.ClassAnswer {
				return err
			}
			o.log.WarnContext(ctx, "tables not made: no answer", "err", err)
			continue
		}
		if err := sameCoordinator(ctx, p, db); err != nil {
			return err
		}
	}
	return nil
}

// ErrOtherCoordinator is a database that has obeyed another coordinator: it would refuse every write of an epoch below the one that it has learned.
var ErrOtherCoordinator = errors.New("real: the database has obeyed another coordinator")

// sameCoordinator refuses to start with a new coordinator over an old database.
func sameCoordinator(ctx context.Context, p *service.Parts, db *sql.DB) error {
	sample, err := p.Database.Lag(ctx, db)
	if err != nil || sample.Epoch == 0 {
		return nil //nolint:nilerr // gone meanwhile, or without a heartbeat: as new
	}
	if record, err := p.Coordinator.Load(ctx); errors.Is(err, failover.ErrNoRecord) {
		return fmt.Errorf("%w: it knows epoch %s, and the coordinator none: use the directory (-dir) that it was used with before, or a new database", ErrOtherCoordinator, failover.FormatEpoch(sample.Epoch))
	} else if err == nil && record.Epoch < sample.Epoch {
		return fmt.Errorf("%w: it knows epoch %s, and the coordinator only %s", ErrOtherCoordinator, failover.FormatEpoch(sample.Epoch), failover.FormatEpoch(record.Epoch))
	}
	return nil
}

// promote is the part of the runbook that is about PostgreSQL. The old primary is rebuilt by a person: docs/runbooks.
func promote(dbs map[failover.Region]*sql.DB, t failover.Transition) []runbook.Step {
	wait := steps.WaitReplication("wait for replication", dbs[t.From], dbs[t.To])
	wait.Only = runbook.OnlyPlanned
	promote := steps.PromotePostgres("promote the standby", dbs[t.To], steps.GuardOf(t, 0, failoversql.PostgreSQL().Lag))
	promote.Needs = []string{wait.Name}
	return []runbook.Step{wait, promote}
}

// operator knows people by a token that says their name. An identity provider does better.
func operator(r *http.Request) (by string, err error) {
	by, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer operator-")
	if !ok || by == "" {
		return "", errors.New("not an operator")
	}
	return by, nil
}

// Queues returns the queues and dead-letter queues of a Region, by name, for those who look after them. They are made where they are missing.
func Queues(ctx context.Context, region failover.Region, endpoint string) (map[string]*sqsqueue.Queue, error) {
	o := &opening{config: Config{Regions: map[failover.Region]Endpoints{region: {SQS: endpoint}}}, log: slog.New(slog.DiscardHandler)}
	api := connectSQS(region, endpoint, o.config.sqsTransport(region))
	all := map[string]*sqsqueue.Queue{}
	calls, charges := o.config.queues()
	for _, name := range []string{calls, charges} {
		q, err := o.queue(ctx, api, region, name)
		if err != nil {
			return nil, err
		}
		dead, err := sqsqueue.New(api, endpoint+"/"+account+"/"+name+"-dead", sqsqueue.Config{Region: region, Retention: queueRetention})
		if err != nil {
			return nil, err
		}
		all[name], all[name+"-dead"] = q, dead
	}
	return all, nil
}
