//go:build linux

package benchmarks

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/holdfast-go/holdfast/queue"
	"github.com/holdfast-go/holdfast/queue/spool"
)

// spoolRecord is the size of the messages.
const spoolRecord = 512

// spoolWriters is how many goroutines append at a time.
const spoolWriters = 128

// disk returns a directory on a real disk: an fdatasync on tmpfs costs nothing and would show nothing.
func disk(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		b.Fatal(err)
	}
	const tmpfs = 0x01021994
	if fs.Type == tmpfs {
		b.Skip("the temporary directory is a tmpfs: set TMPDIR to a directory on a disk")
	}
	return dir
}

// write runs append b.N times on writers goroutines and reports messages a second.
func write(b *testing.B, writers int, append func(i int) error) {
	var next, failed atomic.Int64
	b.ResetTimer()
	defer cpu(b)()
	began := time.Now()
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= b.N; i = int(next.Add(1)) {
				if append(i) != nil {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "msg/s")
	if failed.Load() > 0 {
		b.Errorf("%d failed", failed.Load())
	}
}

// BenchmarkSpool appends durably: raw is one fdatasync a message, which is what one writer can have at best; bbolt is Batch
// at several delays, the best of which is the one to beat.
func BenchmarkSpool(b *testing.B) {
	body := strings.Repeat("x", spoolRecord)
	b.Run("raw-fdatasync", func(b *testing.B) {
		write(b, 1, raw(b, disk(b), body))
	})
	for _, delay := range []time.Duration{200 * time.Microsecond, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond} {
		b.Run("bbolt-batch-"+delay.String(), func(b *testing.B) { benchmarkBolt(b, delay, body) })
	}
	b.Run("holdfast", func(b *testing.B) {
		s, err := spool.Open(disk(b), spool.Config{MaxBytes: 16 << 30})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		ctx := context.Background()
		write(b, spoolWriters, func(int) error {
			return s.Append(ctx, queue.Outgoing{CallID: "0192f5a0-0000-7000-8000-000000000000", Body: body})
		})
		b.ReportMetric(float64(b.N)/float64(s.Stats().Syncs), "msg/fdatasync")
	})
}

// raw returns an append of body to a new file in dir with an fdatasync of its own.
func raw(b *testing.B, dir, body string) func(int) error {
	f, err := os.Create(filepath.Join(dir, "raw"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	return func(int) error {
		if _, err := f.WriteString(body); err != nil {
			return err
		}
		return syscall.Fdatasync(int(f.Fd()))
	}
}

func benchmarkBolt(b *testing.B, delay time.Duration, body string) {
	write(b, spoolWriters, bolt(b, delay, body))
}

// bolt returns a durable append of body to a new database.
func bolt(b *testing.B, delay time.Duration, body string) func(int) error {
	db, err := bbolt.Open(filepath.Join(disk(b), "bolt"), 0o600, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	db.MaxBatchDelay = delay
	if err := db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("b")); return err }); err != nil {
		b.Fatal(err)
	}
	var next atomic.Uint64
	return func(int) error {
		i := next.Add(1)
		return db.Batch(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("b")).Put(binary.BigEndian.AppendUint64(nil, i), []byte(body))
		})
	}
}

// BenchmarkSpoolPairs is BenchmarkSpool's 128 writers in turns: every round lets each way append the same number of messages,
// so that what else the disk does meets all of them. Medians of the rounds; the ratios are of the spool over the best delay of
// bbolt in the same round, and over a lone writer's fdatasyncs in the spool's directory, a twentieth of the messages.
func BenchmarkSpoolPairs(b *testing.B) {
	const some = 128 * 40
	body := strings.Repeat("x", spoolRecord)
	dir := disk(b)
	s, err := spool.Open(dir, spool.Config{MaxBytes: 64 << 30})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	alone := raw(b, dir, body)
	ways := []func(i int) error{func(int) error {
		return s.Append(context.Background(), queue.Outgoing{CallID: "0192f5a0-0000-7000-8000-000000000000", Body: body})
	}}
	for _, delay := range []time.Duration{200 * time.Microsecond, time.Millisecond, 3 * time.Millisecond} {
		ways = append(ways, bolt(b, delay, body))
	}
	rates, cpus := make([][]float64, len(ways)), make([][]float64, len(ways))
	var ratios, lone, overLone []float64
	b.ResetTimer()
	for range b.N {
		best := 0.0
		for i, way := range ways {
			before, began := cpuTime(), time.Now()
			inParallelN(b, spoolWriters, some, func() error { return way(0) })
			rate := some / time.Since(began).Seconds()
			rates[i], cpus[i] = append(rates[i], rate), append(cpus[i], float64(cpuTime()-before)/some)
			if i > 0 {
				best = max(best, rate)
			}
		}
		began := time.Now()
		inParallelN(b, 1, some/20, func() error { return alone(0) })
		lone = append(lone, some/20/time.Since(began).Seconds())
		ratios = append(ratios, rates[0][len(rates[0])-1]/best)
		overLone = append(overLone, rates[0][len(rates[0])-1]/lone[len(lone)-1])
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ratios), "times-bbolt")
	b.ReportMetric(slices.Min(ratios), "times-bbolt-min")
	b.ReportMetric(median(overLone), "times-raw")
	b.ReportMetric(median(lone), "raw-msg/s")
	for i, name := range []string{"spool", "bbolt-200µs", "bbolt-1ms", "bbolt-3ms"} {
		b.ReportMetric(median(rates[i]), name+"-msg/s")
		b.ReportMetric(median(cpus[i]), name+"-cpu-ns")
	}
	b.ReportMetric(float64(b.N*some)/float64(s.Stats().Syncs), "msg/fdatasync")
}

// BenchmarkSpoolRecovery opens a spool of many messages, as after a crash; an operation is one record.
func BenchmarkSpoolRecovery(b *testing.B) {
	const records = 100_000
	dir := disk(b)
	s, err := spool.Open(dir, spool.Config{})
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			for range records / 1000 {
				if err := s.Append(context.Background(), queue.Outgoing{CallID: "0192f5a0-0000-7000-8000-000000000000", Body: strings.Repeat("x", spoolRecord)}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	var used int64
	for b.Loop() {
		before := cpuTime()
		s, err := spool.Open(dir, spool.Config{})
		used += cpuTime() - before
		if err != nil || s.Stats().Messages != records {
			b.Fatalf("Open: %v, %d messages", err, s.Stats().Messages)
		}
		s.Close()
	}
	b.ReportMetric(float64(used)/float64(b.N)/records, "cpu-ns/record")
}
