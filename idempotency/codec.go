package idempotency

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// A Codec turns results into bytes and back. The default is encoding/json. Results of type []byte are
// stored as they are, without a codec. Implementations are safe for concurrent use.
type Codec interface {
	Name() string // stored with each result, at most 64 bytes; a result of another codec is ErrDecode
	Marshal(v any) ([]byte, error)
	Unmarshal(data []byte, v any) error
}

// A Sealer encrypts or compresses what is stored: results, error texts and checkpoints. It may do I/O
// and is safe for concurrent use. What cannot be sealed is not stored: the key is marked done without its result.
type Sealer interface {
	Seal(ctx context.Context, key Key, plain []byte) ([]byte, error)
	Open(ctx context.Context, key Key, sealed []byte) ([]byte, error)
}

type jsonCodec struct{}

func (jsonCodec) Name() string                       { return "json" }
func (jsonCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// rawCodec is the name under which []byte results are stored.
const rawCodec = "raw"

// pack makes the envelope of a result. A result that cannot be kept becomes a marker: the call is
// done, and a second run would be worse than a missing result.
func (g *core) pack(ctx context.Context, key Key, value any) []byte {
	e := envelope{kind: kindValue, codec: rawCodec, tag: reflect.TypeOf(value).Elem().String()}
	if raw, ok := value.(*[]byte); ok {
		e.body = *raw
	} else {
		body, err := g.config.Codec.Marshal(value)
		if err != nil {
			return marker("its encoding failed")
		}
		e.codec, e.body = g.config.Codec.Name(), body
	}
	return g.finish(ctx, key, e)
}

// packError makes the envelope of a stored error.
func (g *core) packError(ctx context.Context, key Key, err error) []byte {
	e := envelope{kind: kindError, body: []byte(err.Error())}
	for _, known := range g.config.Errors {
		if errors.Is(err, known) {
			e.codec = known.Error()
			break
		}
	}
	return g.finish(ctx, key, e)
}

// finish seals e and checks its size.
func (g *core) finish(ctx context.Context, key Key, e envelope) []byte {
	if len(e.body) > g.config.MaxBytes {
		return marker(fmt.Sprintf("it has %d bytes, more than MaxBytes", len(e.body)))
	}
	if g.config.Seal != nil {
		sealed, err := g.config.Seal.Seal(context.WithoutCancel(ctx), key, e.body) // of a call that is over
		if err != nil {
			return marker("its sealing failed")
		}
		e.kind, e.body = e.kind|sealedFlag, sealed
	}
	return e.encode()
}

func marker(why string) []byte { return envelope{kind: kindMarker, body: []byte(why)}.encode() }

// unpack decodes a stored result into value, a pointer to the result, or returns the stored error. A nil
// value asks only whether the call is done.
func (g *core) unpack(ctx context.Context, key Key, stored []byte, value any) error {
	e, err := parseEnvelope(stored)
	if err != nil {
		return g.refusal(key, ErrCorrupt, err)
	}
	if e.kind&sealedFlag != 0 {
		if e.body, err = g.open(ctx, key, e.body); err != nil {
			return g.refusal(key, ErrDecode, err)
		}
	}
	switch e.kind &^ sealedFlag {
	case kindError:
		return g.storedError(e)
	case kindValue:
		if value == nil {
			return nil
		}
		return g.decode(key, e, value)
	case kindMarker:
		if value != nil {
			return g.refusal(key, ErrNotReplayable, errors.New(string(e.body)))
		}
	case kindNothing:
		if value != nil {
			return g.refusal(key, ErrNotReplayable, errors.New("it was made without one"))
		}
	}
	return nil
}

func (g *core) open(ctx context.Context, key Key, sealed []byte) ([]byte, error) {
	if g.config.Seal == nil {
		return nil, errors.New("it is sealed and Config.Seal is nil")
	}
	return g.config.Seal.Open(ctx, key, sealed)
}

func (g *core) storedError(e envelope) error {
	stored := &StoredError{Message: string(e.body)}
	for _, known := range g.config.Errors {
		if e.codec != "" && known.Error() == e.codec {
			stored.Err = known
			break
		}
	}
	return stored
}

func (g *core) decode(key Key, e envelope, value any) error {
	if tag := reflect.TypeOf(value).Elem().String(); tag != e.tag {
		return g.refusal(key, ErrDecode, fmt.Errorf("it is a %s, want %s", e.tag, tag))
	}
	if raw, ok := value.(*[]byte); ok && e.codec == rawCodec {
		*raw = append([]byte{}, e.body...)
		return nil
	}
	if name := g.config.Codec.Name(); name != e.codec {
		return g.refusal(key, ErrDecode, fmt.Errorf("its codec is %q, want %q", e.codec, name))
	}
	if err := g.config.Codec.Unmarshal(e.body, value); err != nil {
		return g.refusal(key, ErrDecode, err)
	}
	return nil
}
