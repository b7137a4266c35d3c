package idempotency

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// An envelope is what a store keeps as a result:
//
//	version 1 | kind | codec | type tag | body | CRC-32C of all before
//
// codec and type tag are strings behind their length, a uvarint.
type envelope struct {
	kind  kind
	codec string // Codec.Name of the body's encoding, or the name of an error
	tag   string // the result's Go type
	body  []byte
}

type kind byte

const (
	kindValue   kind = 1 + iota // body is the encoded result
	kindError                   // body is the error's text
	kindMarker                  // done, but the result could not be kept; body says why
	kindNothing                 // done, and there is no result: Guard.Do and Guard.Once
	kinds
	sealedFlag      kind = 0x80 // body went through Config.Seal
	envelopeVersion      = 1
)

var (
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
	errEnvelope = errors.New("malformed envelope")
)

// nothing is the one envelope of calls without a result.
var nothing = envelope{kind: kindNothing}.encode()

func (e envelope) encode() []byte {
	b := make([]byte, 0, 2+2*binary.MaxVarintLen16+len(e.codec)+len(e.tag)+len(e.body)+crc32.Size)
	b = append(b, envelopeVersion, byte(e.kind))
	b = append(binary.AppendUvarint(b, uint64(len(e.codec))), e.codec...)
	b = append(binary.AppendUvarint(b, uint64(len(e.tag))), e.tag...)
	b = append(b, e.body...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// parseEnvelope reads b; body refers to b.
func parseEnvelope(b []byte) (e envelope, err error) {
	if len(b) < 2+crc32.Size || b[0] != envelopeVersion {
		return e, errEnvelope
	}
	payload, sum := b[:len(b)-crc32.Size], b[len(b)-crc32.Size:]
	if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(sum) {
		return e, errEnvelope
	}
	e.kind = kind(payload[1])
	if k := e.kind &^ sealedFlag; k == 0 || k >= kinds {
		return e, errEnvelope
	}
	rest := payload[2:]
	if e.codec, rest, err = cutString(rest); err != nil {
		return e, err
	}
	if e.tag, rest, err = cutString(rest); err != nil {
		return e, err
	}
	e.body = rest
	return e, nil
}

func cutString(b []byte) (string, []byte, error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return "", nil, errEnvelope
	}
	b = b[size:]
	return string(b[:n]), b[n:], nil
}
