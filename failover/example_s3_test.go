package failover_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/failover"
)

// A Bucket is the little of S3 that objects need which never change.
type Bucket interface {
	Put(ctx context.Context, key string, body []byte) error
	Get(ctx context.Context, key string) ([]byte, error) // errNoKey: the bucket has no such key
}

var errNoKey = errors.New("NoSuchKey")

// An Attachment is what a row of the database says of an object.
type Attachment struct{ Key string }

// nameOf is the key under which a body is kept: it never changes, so that no copy of it can be old.
func nameOf(body []byte) string {
	sum := sha256.Sum256(body)
	return "attachments/" + hex.EncodeToString(sum[:])
}

// open reads an object that a row names.
func open(ctx context.Context, buckets *failover.Client[Bucket], a Attachment) ([]byte, error) {
	return failover.Read(ctx, buckets, func(ctx context.Context, b Bucket) ([]byte, error) {
		body, err := b.Get(ctx, a.Key)
		switch {
		case errors.Is(err, errNoKey): // a row names it, so it exists: this copy is behind, another may have it
			return nil, holdfast.NotRun(fmt.Errorf("object %s has not been copied here: %w", a.Key, err))
		case err == nil && nameOf(body) != a.Key:
			return nil, fmt.Errorf("object %s is damaged", a.Key)
		}
		return body, err
	})
}

// save stores an object in every bucket before a row may name it.
func save(ctx context.Context, buckets []Bucket, body []byte) (Attachment, error) {
	a := Attachment{Key: nameOf(body)}
	for _, b := range buckets {
		if err := b.Put(ctx, a.Key, body); err != nil {
			return Attachment{}, fmt.Errorf("object %s is not stored in every Region: %w", a.Key, err)
		}
	}
	return a, nil
}

func attachments(ctl *failover.Controller, east, west Bucket, probe func(context.Context, Bucket) error) (*failover.Client[Bucket], error) {
	return failover.New(ctl, []failover.Member[Bucket]{
		{Region: "us-east-1", Client: east, Probe: probe},
		{Region: "us-west-2", Client: west, Probe: probe},
	}, failover.ClientConfig{Name: "attachments", Advisory: true})
}

// objects is a bucket in memory.
type objects map[string][]byte

func (o objects) Put(_ context.Context, key string, body []byte) error { o[key] = body; return nil }

func (o objects) Get(_ context.Context, key string) ([]byte, error) {
	if body, ok := o[key]; ok {
		return body, nil
	}
	return nil, errNoKey
}

// goneBucket is one whose Region cannot be reached.
type goneBucket struct{ Bucket }

func (goneBucket) Get(context.Context, string) ([]byte, error) {
	return nil, holdfast.NotRun(errors.New("dial: no route to host"))
}

// What a reader must do about the lag of copied objects: docs/recipes/s3.md.
func ExampleRead_objects() {
	ctl, err := failover.NewController(failover.ControllerConfig{
		Regions: []failover.Region{"us-east-1", "us-west-2"}, Self: "us-west-2", Coordinator: failover.NewMemoryCoordinator("us-east-1", "us-west-2"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	east, west := objects{}, objects{}
	ctx := context.Background()
	invoice, err := save(ctx, []Bucket{east}, []byte("invoice 7")) // S3 copies it some time
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, east := range []Bucket{east, goneBucket{east}} {
		buckets, err := attachments(ctl, east, west, func(context.Context, Bucket) error { return nil })
		if err != nil {
			fmt.Println(err)
			return
		}
		body, err := open(ctx, buckets, invoice)
		fmt.Printf("%q, not there: %v, nothing was read: %v\n", body, errors.Is(err, errNoKey), holdfast.OutcomeOf(err) == holdfast.OutcomeNotRun)
	}
	// Output:
	// "invoice 7", not there: false, nothing was read: false
	// "", not there: true, nothing was read: true
}
