package sqstest

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// A region is the service in one Region: its queues share nothing with those of another.
type region struct {
	server *Server
	name   string

	mu       sync.Mutex // guards all below, and the queues; never held while waiting
	queues   map[string]*queue
	deleted  map[string]time.Time // names of queues, and when they were deleted
	ids      *rand.Rand
	number   uint64
	sequence uint64
	receipt  uint64
	woken    []*queue
	moves    []*move // oldest first
}

func (g *region) arn(name string) string {
	return "arn:aws:sqs:" + g.name + ":" + g.server.account + ":" + name
}

// byARN finds a queue of this Region.
func (g *region) byARN(arn string) *queue {
	name, ok := strings.CutPrefix(arn, g.arn(""))
	if !ok {
		return nil
	}
	return g.queues[name]
}

func (g *region) stamp() time.Time { return g.server.stamp() }

func (g *region) nextNumber() uint64   { g.number++; return g.number }
func (g *region) nextSequence() uint64 { g.sequence++; return g.sequence }
func (g *region) nextReceipt() uint64  { g.receipt++; return g.receipt }

// uuid draws an id from the Region's own stream.
func (g *region) uuid() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], g.ids.Uint64())
	binary.BigEndian.PutUint64(b[8:], g.ids.Uint64())
	b[6], b[8] = b[6]&0x0F|0x40, b[8]&0x3F|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// changed notes that a queue got messages outside its own action.
func (g *region) changed(q *queue) { g.woken = append(g.woken, q) }

// settle hands messages that were moved between queues to the polls that wait for them. Handing
// over can move more; it ends, because a message moves only after it was received.
func (g *region) settle(now time.Time) {
	for len(g.woken) > 0 {
		q := g.woken[0]
		g.woken = g.woken[1:]
		q.advance(now)
		q.hand(now)
	}
}

// handle makes the receipt handle of one receive.
func handle(q *queue, num, receipt uint64) string {
	b := make([]byte, 0, 24)
	b = binary.BigEndian.AppendUint64(b, num)
	b = binary.BigEndian.AppendUint64(b, receipt)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE([]byte(q.arn)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return base64.StdEncoding.EncodeToString(b)
}

// open reads a receipt handle; ok is false when this queue never gave it.
func (g *region) open(q *queue, handle string) (num, receipt uint64, ok bool) {
	b, err := base64.StdEncoding.DecodeString(handle)
	if err != nil || len(b) != 24 || binary.BigEndian.Uint32(b[20:]) != crc32.ChecksumIEEE(b[:20]) {
		return 0, 0, false
	}
	num, receipt = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	known := binary.BigEndian.Uint32(b[16:]) == crc32.ChecksumIEEE([]byte(q.arn)) && num <= g.number && receipt <= g.receipt
	return num, receipt, known
}
