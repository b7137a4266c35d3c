package dynamocoord

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/holdfast-go/holdfast/failover"
)

// API is what the package uses of *dynamodb.Client.
type API interface {
	DescribeTable(context.Context, *dynamodb.DescribeTableInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error)
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
}

// Config configures a [Store].
type Config struct {
	// Table is the table's name. Required.
	Table string

	// Key is the partition key of the fleet's items. Empty means "failover".
	Key string

	// Regions lists the fleet's Regions, so that Info can say whose loss the table survives. Required.
	Regions []failover.Region
}

// A Store is a [failover.Coordinator] in DynamoDB. It is safe for concurrent use.
type Store struct {
	api      API
	cfg      Config
	survives []failover.Region
}

// Open describes the table and returns a store over it. Errors: a missing field; a table that is not there, has other keys or is an
// eventually consistent global table; the request's own.
func Open(ctx context.Context, api API, cfg Config) (*Store, error) {
	switch {
	case api == nil:
		return nil, errors.New("dynamocoord: Open: api is nil")
	case cfg.Table == "":
		return nil, errors.New("dynamocoord: Config.Table is empty")
	case len(cfg.Regions) == 0:
		return nil, errors.New("dynamocoord: Config.Regions is empty")
	}
	if cfg.Key == "" {
		cfg.Key = "failover"
	}
	out, err := api.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &cfg.Table})
	if err != nil {
		return nil, fmt.Errorf("dynamocoord: table %q: %w", cfg.Table, err)
	}
	survives, err := survivors(out.Table, cfg.Regions)
	if err != nil {
		return nil, fmt.Errorf("dynamocoord: table %q: %w", cfg.Table, err)
	}
	return &Store{api: api, cfg: cfg, survives: survives}, nil
}

// survivors checks what kind of table it is and returns the Regions whose loss it survives.
func survivors(t *types.TableDescription, regions []failover.Region) ([]failover.Region, error) {
	keys := map[types.KeyType]string{}
	for _, k := range t.KeySchema {
		keys[k.KeyType] = aws.ToString(k.AttributeName)
	}
	if keys[types.KeyTypeHash] != "pk" || keys[types.KeyTypeRange] != "sk" {
		return nil, fmt.Errorf("its keys are %q and %q, want pk and sk", keys[types.KeyTypeHash], keys[types.KeyTypeRange])
	}
	if len(t.Replicas) > 0 {
		if t.MultiRegionConsistency != types.MultiRegionConsistencyStrong {
			return nil, errors.New("it is a global table with eventual consistency: two Regions could both win a swap")
		}
		return slices.Clone(regions), nil
	}
	parts := strings.Split(aws.ToString(t.TableArn), ":") // arn:aws:dynamodb:region:account:table/name
	if len(parts) < 6 {
		return nil, fmt.Errorf("its ARN %q names no Region", aws.ToString(t.TableArn))
	}
	return slices.DeleteFunc(slices.Clone(regions), func(r failover.Region) bool { return r == parts[3] }), nil
}

const (
	recordSort = "record"
	voteSort   = "vote#"
)

func (s *Store) key(sort string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"pk": text(s.cfg.Key), "sk": text(sort)}
}

func text(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }

func number(n uint64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatUint(n, 10)}
}

// Load returns the stored record.
func (s *Store) Load(ctx context.Context) (rec failover.Record, err error) {
	out, err := s.api.GetItem(ctx, &dynamodb.GetItemInput{TableName: &s.cfg.Table, Key: s.key(recordSort), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return rec, fmt.Errorf("dynamocoord: load: %w", err)
	}
	if len(out.Item) == 0 {
		return rec, failover.ErrNoRecord
	}
	return rec, decode(out.Item, &rec)
}

// decode reads the JSON of an item.
func decode(item map[string]types.AttributeValue, into any) error {
	body, ok := item["body"].(*types.AttributeValueMemberS)
	if !ok {
		return errors.New("dynamocoord: an item has no body")
	}
	if err := json.Unmarshal([]byte(body.Value), into); err != nil {
		return fmt.Errorf("dynamocoord: an item's body: %w", err)
	}
	return nil
}

// CompareAndSwap stores next. A request that the SDK repeats because the answer was lost is known for what it is, as long as nobody has
// stored another record since; after that it is ErrConflict, which the controller looks into.
func (s *Store) CompareAndSwap(ctx context.Context, sequence uint64, next failover.Record) error {
	item, err := s.item(recordSort, next.Sequence, next)
	if err != nil {
		return err
	}
	put := &dynamodb.PutItemInput{TableName: &s.cfg.Table, Item: item, ConditionExpression: aws.String("attribute_not_exists(pk)")}
	if sequence > 0 {
		put.ConditionExpression = aws.String("n = :n")
		put.ExpressionAttributeValues = map[string]types.AttributeValue{":n": number(sequence)}
	}
	put.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	err = s.put(ctx, "swap", put)
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok && sameBody(failed.Item, item) {
		return nil // the SDK sent it again because the answer to the first was lost: records are told apart by their stamps
	}
	return conflictOr(err)
}

func sameBody(a, b map[string]types.AttributeValue) bool {
	x, ok := a["body"].(*types.AttributeValueMemberS)
	y, ok2 := b["body"].(*types.AttributeValueMemberS)
	return ok && ok2 && x.Value == y.Value
}

// conflictOr is ErrConflict for a condition that did not hold.
func conflictOr(err error) error {
	if _, failed := errors.AsType[*types.ConditionalCheckFailedException](err); failed {
		return failover.ErrConflict
	}
	return err
}

// Vote stores v.
func (s *Store) Vote(ctx context.Context, v failover.Vote) error {
	item, err := s.item(voteSort+v.Instance, v.Number, v)
	if err != nil {
		return err
	}
	item["expires"] = number(uint64(v.At.Add(failover.VoteRetention).Unix()))
	return conflictOr(s.put(ctx, "vote", &dynamodb.PutItemInput{
		TableName: &s.cfg.Table, Item: item,
		// An equal number is this very vote, sent again by the SDK.
		ConditionExpression:       aws.String("attribute_not_exists(pk) OR n <= :n"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":n": number(v.Number)},
	}))
}

func (s *Store) item(sort string, n uint64, body any) (map[string]types.AttributeValue, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("dynamocoord: %s: %w", sort, err)
	}
	item := s.key(sort)
	item["n"], item["body"] = number(n), text(string(encoded))
	return item, nil
}

// conflictPause is the least wait before a store that another Region contended for is tried again.
const conflictPause = 50 * time.Millisecond

// put stores put's item if its condition holds.
func (s *Store) put(ctx context.Context, what string, put *dynamodb.PutItemInput) error {
	for {
		_, err := s.api.PutItem(ctx, put)
		if err == nil {
			return nil
		}
		if _, contended := errors.AsType[*types.ReplicatedWriteConflictException](err); !contended {
			return fmt.Errorf("dynamocoord: %s: %w", what, err)
		}
		select {
		case <-time.After(conflictPause + mathrand.N(conflictPause)):
		case <-ctx.Done():
			return fmt.Errorf("dynamocoord: %s: %w", what, errors.Join(err, context.Cause(ctx)))
		}
	}
}

// Votes returns every instance's newest vote.
func (s *Store) Votes(ctx context.Context) ([]failover.Vote, error) {
	var votes []failover.Vote
	query := &dynamodb.QueryInput{
		TableName: &s.cfg.Table, ConsistentRead: aws.Bool(true),
		KeyConditionExpression:    aws.String("pk = :pk AND begins_with(sk, :vote)"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":pk": text(s.cfg.Key), ":vote": text(voteSort)},
	}
	for {
		out, err := s.api.Query(ctx, query)
		if err != nil {
			return nil, fmt.Errorf("dynamocoord: votes: %w", err)
		}
		for _, item := range out.Items {
			var v failover.Vote
			if err := decode(item, &v); err != nil {
				return nil, err
			}
			if time.Since(v.At) <= failover.VoteRetention { // time to live deletes days late
				votes = append(votes, v)
			}
		}
		if len(out.LastEvaluatedKey) == 0 {
			return votes, nil
		}
		query.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// Info says whose loss the table survives.
func (s *Store) Info() failover.CoordinatorInfo {
	return failover.CoordinatorInfo{Name: "dynamodb", Linearizable: true, Survives: s.survives}
}
