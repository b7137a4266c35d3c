package dynamocoord_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/holdfast-go/holdfast/failover"
	"github.com/holdfast-go/holdfast/failover/coordtest"
	"github.com/holdfast-go/holdfast/failover/dynamocoord"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

var fleet = []failover.Region{"us-east-1", "us-west-2"}

func TestAgainstMoto(t *testing.T) {
	endpoint := servertest.Env(t, servertest.SharedMoto)
	api := dynamodb.New(dynamodb.Options{
		Region: "us-east-2", BaseEndpoint: &endpoint,
		HTTPClient: &http.Client{Transport: &loseAnswers{}},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
		}),
	})
	open := func(t *testing.T) failover.Coordinator {
		table := "failover-" + rand.Text()
		_, err := api.CreateTable(t.Context(), &dynamodb.CreateTableInput{
			TableName: &table, BillingMode: types.BillingModePayPerRequest,
			AttributeDefinitions: []types.AttributeDefinition{
				{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS}, {AttributeName: aws.String("sk"), AttributeType: types.ScalarAttributeTypeS},
			},
			KeySchema: []types.KeySchemaElement{
				{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
			},
		})
		// moto breaks a connection now and then, and the SDK asks again for a table that is made: nobody else has its name.
		if made := (*types.ResourceInUseException)(nil); err != nil && !errors.As(err, &made) {
			t.Fatal(err)
		}
		s, err := dynamocoord.Open(t.Context(), api, dynamocoord.Config{Table: table, Regions: fleet})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	coordtest.Run(t, open)
	if got := open(t).Info(); !got.Linearizable || !slices.Equal(got.Survives, fleet) {
		t.Errorf("Info of a table in a third Region = %+v, want that it survives %q", got, fleet)
	}
	if _, err := dynamocoord.Open(t.Context(), api, dynamocoord.Config{Table: "none", Regions: fleet}); err == nil {
		t.Error("Open of a table that is not there = nil error")
	}
}

// loseAnswers loses the answer to every third store that was made. The SDK sends it again.
type loseAnswers struct{ stores atomic.Int64 }

func (l *loseAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && res.StatusCode == http.StatusOK && r.Header.Get("X-Amz-Target") == "DynamoDB_20120810.PutItem" && l.stores.Add(1)%3 == 1 {
		res.Body.Close()
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	return res, err
}

// A swap whose answer was lost was made: its repetition meets itself, and is no conflict. Another's is.
func TestSwapWithALostAnswerIsOnesOwn(t *testing.T) {
	for name, c := range map[string]struct {
		after func(t *testing.T, other *dynamocoord.Store) // between the store and its repetition
		want  error
	}{
		"nobody came between": {func(*testing.T, *dynamocoord.Store) {}, nil},
		"another has swapped since": {func(t *testing.T, other *dynamocoord.Store) {
			if err := other.CompareAndSwap(t.Context(), 2, coordtest.Sample(3)); err != nil {
				t.Error(err)
			}
		}, failover.ErrConflict},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGlobal()
			east, west := g.open(t, "us-east-1"), g.open(t, "us-west-2")
			if err := east.CompareAndSwap(t.Context(), 0, coordtest.Sample(1)); err != nil {
				t.Fatal(err)
			}
			g.repeat = func() { c.after(t, west) }
			if err := east.CompareAndSwap(t.Context(), 1, coordtest.Sample(2)); !errors.Is(err, c.want) {
				t.Errorf("CompareAndSwap = %v, want %v", err, c.want)
			}
			other := coordtest.Sample(3)
			other.Stamps = []string{"other"}
			if err := west.CompareAndSwap(t.Context(), 1, other); !errors.Is(err, failover.ErrConflict) {
				t.Errorf("a swap from an old sequence = %v, want ErrConflict", err)
			}
		})
	}
}

func TestTwoRegionsOfAGlobalTable(t *testing.T) {
	coordtest.Run(t, func(t *testing.T) failover.Coordinator { return newGlobal().open(t, "us-east-1") })
}

// Two Regions contend: one wins each round, and a store that was contended for is tried again, not given up.
func TestContendedStoresAreTriedAgain(t *testing.T) {
	g := newGlobal()
	east, west := g.open(t, "us-east-1"), g.open(t, "us-west-2")
	for round := range uint64(20) {
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for i, s := range []*dynamocoord.Store{east, west} {
			wg.Go(func() {
				rec := coordtest.Sample(round + 1)
				rec.DecisionID = fmt.Sprint(i)
				errs[i] = s.CompareAndSwap(t.Context(), round, rec)
			})
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, failover.ErrConflict):
				t.Fatalf("CompareAndSwap = %v, want nil or ErrConflict", err)
			}
		}
		if won != 1 {
			t.Fatalf("round %d: %d Regions won, want 1", round, won)
		}
	}
	if g.contended == 0 {
		t.Error("the fake never reported a conflict: the test shows nothing")
	}
}

func TestContentionEndsWithTheContext(t *testing.T) {
	g := newGlobal()
	g.always = true
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := g.open(t, "us-east-1").CompareAndSwap(ctx, 0, coordtest.Sample(1))
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, failover.ErrConflict) {
		t.Errorf("CompareAndSwap = %v, want the context's end", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	eventual := newGlobal()
	eventual.consistency = types.MultiRegionConsistencyEventual
	keys := newGlobal()
	keys.sort = "other"
	for _, tt := range []struct {
		name string
		api  dynamocoord.API
		cfg  dynamocoord.Config
		want string
	}{
		{"no table", newGlobal(), dynamocoord.Config{Regions: fleet}, "Config.Table"},
		{"no Regions", newGlobal(), dynamocoord.Config{Table: "t"}, "Config.Regions"},
		{"no client", nil, dynamocoord.Config{Table: "t", Regions: fleet}, "api is nil"},
		{"eventual consistency", eventual, dynamocoord.Config{Table: "t", Regions: fleet}, "eventual consistency"},
		{"other keys", keys, dynamocoord.Config{Table: "t", Regions: fleet}, "want pk and sk"},
	} {
		if _, err := dynamocoord.Open(t.Context(), tt.api, tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Open = %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

// A global is a scripted global table with multi-Region strong consistency: a write that runs while another one of the same item
// is under way is refused with ReplicatedWriteConflictException.
type global struct {
	consistency types.MultiRegionConsistency
	sort        string
	always      bool

	mu        sync.Mutex // guards the following
	items     map[string]map[string]types.AttributeValue
	writing   map[string]bool
	contended int
	repeat    func() // set: the next store is sent twice, with this in between
}

func newGlobal() *global {
	return &global{consistency: types.MultiRegionConsistencyStrong, sort: "sk", items: map[string]map[string]types.AttributeValue{}, writing: map[string]bool{}}
}

func (g *global) open(t *testing.T, _ failover.Region) *dynamocoord.Store {
	t.Helper()
	s, err := dynamocoord.Open(t.Context(), g, dynamocoord.Config{Table: "t", Regions: fleet})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (g *global) DescribeTable(context.Context, *dynamodb.DescribeTableInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error) {
	return &dynamodb.DescribeTableOutput{Table: &types.TableDescription{
		MultiRegionConsistency: g.consistency,
		Replicas:               []types.ReplicaDescription{{RegionName: aws.String("us-west-2")}},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash}, {AttributeName: &g.sort, KeyType: types.KeyTypeRange},
		},
	}}, nil
}

func str(v types.AttributeValue) string { return v.(*types.AttributeValueMemberS).Value }

func num(v types.AttributeValue) (n uint64) {
	_, _ = fmt.Sscan(v.(*types.AttributeValueMemberN).Value, &n)
	return n
}

func (g *global) GetItem(ctx context.Context, in *dynamodb.GetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	if !aws.ToBool(in.ConsistentRead) {
		return nil, errors.New("fake: an eventually consistent read")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return &dynamodb.GetItemOutput{Item: maps.Clone(g.items[str(in.Key["sk"])])}, ctx.Err()
}

func (g *global) PutItem(ctx context.Context, in *dynamodb.PutItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	g.mu.Lock()
	between := g.repeat
	g.repeat = nil
	g.mu.Unlock()
	if between != nil { // the answer to the first is lost
		if _, err := g.PutItem(ctx, in, opts...); err != nil {
			return nil, err
		}
		between()
	}
	key := str(in.Item["sk"])
	g.mu.Lock()
	if g.writing[key] || g.always {
		g.contended++
		g.mu.Unlock()
		return nil, &types.ReplicatedWriteConflictException{}
	}
	g.writing[key] = true
	g.mu.Unlock()
	time.Sleep(time.Millisecond) // the way to the other Region
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writing[key] = false
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	old := g.items[key]
	holds := false
	switch *in.ConditionExpression {
	case "attribute_not_exists(pk)":
		holds = old == nil
	case "n = :n":
		holds = old != nil && num(old["n"]) == num(in.ExpressionAttributeValues[":n"])
	case "attribute_not_exists(pk) OR n <= :n":
		holds = old == nil || num(old["n"]) <= num(in.ExpressionAttributeValues[":n"])
	}
	if !holds {
		failed := &types.ConditionalCheckFailedException{}
		if in.ReturnValuesOnConditionCheckFailure == types.ReturnValuesOnConditionCheckFailureAllOld {
			failed.Item = maps.Clone(old)
		}
		return nil, failed
	}
	g.items[key] = maps.Clone(in.Item)
	return &dynamodb.PutItemOutput{}, nil
}

func (g *global) Query(ctx context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	if !aws.ToBool(in.ConsistentRead) {
		return nil, errors.New("fake: an eventually consistent query")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	out := &dynamodb.QueryOutput{}
	after := ""
	if in.ExclusiveStartKey != nil {
		after = str(in.ExclusiveStartKey["sk"])
	}
	for _, key := range slices.Sorted(maps.Keys(g.items)) { // pages of one
		if strings.HasPrefix(key, str(in.ExpressionAttributeValues[":vote"])) && key > after {
			out.Items = append(out.Items, g.items[key])
			out.LastEvaluatedKey = map[string]types.AttributeValue{"sk": in.ExpressionAttributeValues[":vote"]}
			out.LastEvaluatedKey["sk"] = &types.AttributeValueMemberS{Value: key}
			break
		}
	}
	return out, ctx.Err()
}
