package audit

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden file")

var at = time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("CET", 3600))

// sample is a record with every field that the caller sets.
func sample() Record {
	until := at.Add(time.Hour)
	return Record{
		At: at, Action: "degrade.override.set", Subject: "feature checkout", Who: "ana", Second: "ben", Why: "payments are down",
		From: "normal", To: "read-only", ID: "1f", Ticket: "OPS-1", Instance: "i-1", Region: "eu-west-1", Epoch: 7, Fence: "0007", Until: &until,
	}
}

func TestGoldenLog(t *testing.T) {
	var b bytes.Buffer
	l := NewLog(&b, Head{})
	refused := sample()
	refused.Refused = "no reason given"
	for _, r := range []Record{sample(), refused, {At: at, Action: "degrade.override.expire", Subject: "all", Who: "expiry"}} {
		if err := l.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	const path = "testdata/log.jsonl"
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("log = %s, want %s", b.String(), want)
	}
	head, err := Verify(&b, Head{})
	if err != nil || head != l.Head() {
		t.Errorf("Verify = %v, %v, want %v, nil", head, err, l.Head())
	}
}

func TestVerifyFindsWhatWasDone(t *testing.T) {
	whole, err := os.ReadFile("testdata/log.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSpace(string(whole)), "\n")
	tests := []struct {
		name, log, at string
	}{
		{"a changed record breaks the next", strings.Replace(lines[0], "ana", "eve", 1) + lines[1] + lines[2], "line 2"},
		{"a dropped record", lines[0] + lines[2], "line 2"},
		{"a dropped first record", lines[1] + lines[2], "line 1"},
		{"a repeated record", lines[0] + lines[0], "line 2"},
		{"a torn last line", lines[0] + lines[1][:len(lines[1])/2], "line 2"},
		{"not JSON", lines[0] + "hello\n", "line 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Verify(strings.NewReader(tt.log), Head{})
			if !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), tt.at) {
				t.Errorf("Verify = %v, want ErrBroken at %s", err, tt.at)
			}
		})
	}
}

func TestLogContinuesAfterARestart(t *testing.T) {
	var b bytes.Buffer
	first := NewLog(&b, Head{})
	if err := first.Append(sample()); err != nil {
		t.Fatal(err)
	}
	if err := NewLog(&b, first.Head()).Append(sample()); err != nil {
		t.Fatal(err)
	}
	if head, err := Verify(&b, Head{}); err != nil || head.Sequence != 2 {
		t.Errorf("Verify = %v, %v, want sequence 2", head, err)
	}
}

func TestUnknownFieldsVerify(t *testing.T) {
	line := `{"seq":1,"prev":"","newer":true}`
	if head, err := Verify(strings.NewReader(line+"\r\n"), Head{}); err != nil || head.Hash != sum([]byte(line)) {
		t.Errorf("Verify = %v, %v", head, err)
	}
}

type failing struct{ err error }

func (f *failing) Write(p []byte) (int, error) { return 0, f.err }

func TestFailedWriteIsSaidAndLeavesAGap(t *testing.T) {
	full := errors.New("disk full")
	l := NewLog(&failing{full}, Head{})
	if err := l.Append(sample()); !errors.Is(err, full) {
		t.Errorf("Append = %v, want %v", err, full)
	}
	if l.Head().Sequence != 1 {
		t.Errorf("sequence = %d, want the lost record to keep its place", l.Head().Sequence)
	}
}

func TestConcurrentAppends(t *testing.T) {
	var b bytes.Buffer
	l := NewLog(&b, Head{})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { _ = l.Append(sample()) })
	}
	wg.Wait()
	if head, err := Verify(&b, Head{}); err != nil || head.Sequence != 50 {
		t.Errorf("Verify = %v, %v, want 50 records", head, err)
	}
}

func FuzzVerify(f *testing.F) {
	whole, err := os.ReadFile("testdata/log.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, log []byte) {
		head, err := Verify(bytes.NewReader(log), Head{})
		if err == nil && head.Sequence > 0 && head.Hash == "" {
			t.Errorf("a verified log without a head: %q", log)
		}
	})
}
