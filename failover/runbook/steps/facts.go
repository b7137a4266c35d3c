package steps

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/failover"
)

// A reader reads something of one Region.
type reader[T any] = func(ctx context.Context, region failover.Region) (T, error)

// Image is the digest of the container image, or the version, that runs in a Region.
func Image(digest func(ctx context.Context, region failover.Region) (string, error)) Fact {
	return Fact{Name: "image", Read: one(digest)}
}

// ConfigHash is the SHA-256 of a Region's effective configuration. The configuration itself is shown nowhere.
func ConfigHash(config func(ctx context.Context, region failover.Region) ([]byte, error)) Fact {
	return Fact{Name: "config hash", Read: one(func(ctx context.Context, region failover.Region) (string, error) {
		text, err := config(ctx, region)
		return digest(text), err
	})}
}

// Flags are the feature flags of a Region by name.
func Flags(flags func(ctx context.Context, region failover.Region) (map[string]string, error)) Fact {
	return Fact{Name: "flag", Read: flags}
}

// QueueAttributes are the attributes of a queue, without those named, which differ by nature, such as its ARN and its counts.
func QueueAttributes(attributes func(ctx context.Context, region failover.Region) (map[string]string, error), without ...string) Fact {
	return Fact{Name: "queue attribute", Read: func(ctx context.Context, region failover.Region) (map[string]string, error) {
		all, err := attributes(ctx, region)
		kept := map[string]string{}
		for name, value := range all {
			if !slices.Contains(without, name) {
				kept[name] = value
			}
		}
		return kept, err
	}}
}

// Quota are the quotas of a Region by name. The standby Region's must be at least the active one's.
func Quota(quotas func(ctx context.Context, region failover.Region) (map[string]float64, error)) Fact {
	return Fact{
		Name: "quota",
		Read: func(ctx context.Context, region failover.Region) (map[string]string, error) {
			values, err := quotas(ctx, region)
			text := map[string]string{}
			for name, v := range values {
				text[name] = strconv.FormatFloat(v, 'g', -1, 64)
			}
			return text, err
		},
		Same: func(active, standby string) bool {
			a, _ := strconv.ParseFloat(active, 64) // "" where there is none: zero
			b, errB := strconv.ParseFloat(standby, 64)
			return errB == nil && b >= a || active == ""
		},
	}
}

// Certificate asks a Region's TLS server, at host:port, for its certificate, which must be valid for its host name for at least left; names and issuer
// must be the same in both Regions. roots verify it; nil means the system's.
func Certificate(address func(region failover.Region) string, serverName string, left time.Duration, roots *x509.CertPool) Fact {
	return Fact{Name: "certificate", Read: func(ctx context.Context, region failover.Region) (map[string]string, error) {
		dialer := tls.Dialer{Config: &tls.Config{ServerName: serverName, RootCAs: roots}}
		conn, err := dialer.DialContext(ctx, "tcp", address(region))
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		leaf := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
		if until := time.Until(leaf.NotAfter); until < left {
			return nil, fmt.Errorf("expires in %v, less than %v", until.Round(time.Minute), left)
		}
		names := slices.Clone(leaf.DNSNames)
		slices.Sort(names)
		return map[string]string{"names": strings.Join(names, " "), "issuer": leaf.Issuer.String()}, nil
	}}
}

// schemaQuery lists what makes up the schemas of a PostgreSQL database, in a fixed order.
const schemaQuery = `
select 'column ' || table_schema || '.' || table_name || '.' || column_name, data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '')
from information_schema.columns where table_schema not in ('pg_catalog', 'information_schema')
union all
select 'index ' || schemaname || '.' || indexname, indexdef from pg_indexes where schemaname not in ('pg_catalog', 'information_schema')
union all
select 'constraint ' || conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) from pg_constraint where conrelid <> 0 and connamespace <> 'pg_catalog'::regnamespace
  and connamespace <> 'information_schema'::regnamespace`

// Schema is the schema of a PostgreSQL database: columns, indexes, constraints. A streaming standby has its primary's; logical copies may not.
func Schema(dbs map[failover.Region]*sql.DB) Fact {
	return Fact{Name: "schema", Read: func(ctx context.Context, region failover.Region) (map[string]string, error) {
		db := dbs[region]
		if db == nil {
			return nil, fmt.Errorf("no database given")
		}
		rows, err := db.QueryContext(ctx, schemaQuery)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		schema := map[string]string{}
		for rows.Next() {
			var name, definition string
			if err := rows.Scan(&name, &definition); err != nil {
				return nil, err
			}
			schema[name] = definition
		}
		return schema, rows.Err()
	}}
}

// one makes a fact's Read of a reader of one value.
func one(read reader[string]) reader[map[string]string] {
	return func(ctx context.Context, region failover.Region) (map[string]string, error) {
		value, err := read(ctx, region)
		return map[string]string{"": value}, err
	}
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
