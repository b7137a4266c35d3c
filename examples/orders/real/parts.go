package real

import (
	"context"
	"database/sql"
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
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
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

// Open connects to everything in c. The queues and tables are made where they are missing. close lets go of it.
func Open(ctx context.Context, c Config, set service.Settings, log *slog.Logger) (p service.Parts, close func(), err error) {
	o := &opening{config: c, log: log}
	set.ByApproval = true // two Regions alone cannot tell an outage from a cut between them: see Witness
	p = service.Parts{
		Regions: []failover.Region{East, West}, Self: c.Self, Home: East, Instance: c.Self + "/" + strconv.Itoa(os.Getpid()), Database: Database{failoversql.PostgreSQL()},
		SQL: map[failover.Region]*sql.DB{}, Keys: map[failover.Region]idempotency.Store{}, Peers: map[failover.Region]*url.URL{}, Net: http.DefaultTransport.(*http.Transport).Clone(),
		Calls: lane(), Charges: lane(), Authorize: operator, StateDir: filepath.Join(c.Dir, c.Self), Audit: os.Stderr, Logger: log, Settings: set,
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
	if p.Coordinator, err = failover.OpenFileCoordinator(filepath.Join(o.config.Dir, "coordinator"), East, West); err != nil {
		return err
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
func (o *opening) regions(ctx context.Context, p *service.Parts) error {
	for name, at := range o.config.Regions {
		db, err := sql.Open("pgx", at.SQL)
		if err != nil {
			return fmt.Errorf("real: database of %s: %w", name, err)
		}
		db.SetMaxIdleConns(16)
		keys := redis.NewClient(&redis.Options{
			Addr: at.Redis, ContextTimeoutEnabled: true, MaxRetries: -1, MinIdleConns: 8,
			DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second,
		})
		o.opened = append(o.opened, db.Close, keys.Close)
		store, err := redisstore.New(keys, redisstore.Config{Prefix: "orders:" + name + ":"})
		if err != nil {
			return err
		}
		peer, err := url.Parse(at.URL)
		if err != nil {
			return err
		}
		p.SQL[name], p.Keys[name], p.Peers[name] = db, store, peer
		api := connectSQS(name, at.SQS)
		for lane, l := range map[string]service.Lane{"orders": p.Calls, "charges": p.Charges} {
			if l.Queues[name], err = openQueue(ctx, api, name, lane); err != nil {
				return fmt.Errorf("real: queue %s of %s: %w", lane, name, err)
			}
		}
	}
	return nil
}

// connectSQS is for servers that speak SQS without checking who asks. On AWS: sqs.NewFromConfig.
func connectSQS(region, endpoint string) *sqs.Client {
	return sqs.New(sqs.Options{
		Region: region, BaseEndpoint: &endpoint, HTTPClient: &http.Client{Transport: &sqstest.Transport{}},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "local", SecretAccessKey: "local"}, nil
		}),
	})
}

// openQueue makes a queue and its dead-letter queue, if they are missing.
func openQueue(ctx context.Context, api *sqs.Client, region, name string) (*sqsqueue.Queue, error) {
	var urls [2]string
	for i, suffix := range []string{"", "-dead"} {
		made, err := api.CreateQueue(ctx, &sqs.CreateQueueInput{
			QueueName:  aws.String(name + suffix),
			Attributes: map[string]string{"MessageRetentionPeriod": strconv.Itoa(int(queueRetention.Seconds()))},
		})
		if err != nil {
			return nil, err
		}
		urls[i] = *made.QueueUrl
	}
	return sqsqueue.New(api, urls[0], sqsqueue.Config{DeadLetterURL: urls[1], Region: region, Retention: queueRetention})
}

// tables installs them in the primary; copies get them by replication.
func (o *opening) tables(ctx context.Context, p *service.Parts) error {
	for _, db := range p.SQL {
		var copied bool
		if err := db.QueryRowContext(ctx, `select pg_is_in_recovery()`).Scan(&copied); err != nil || copied {
			continue // gone, or a copy
		}
		if err := p.Database.Install(ctx, db); err != nil {
			return err
		}
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
