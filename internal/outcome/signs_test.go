package outcome

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

func TestReadAgreesWithTheSingleQuestions(t *testing.T) {
	errs := []error{
		nil, errPlain, notRun, unknown, ran, permanent(true), after(time.Second), after(-1),
		fmt.Errorf("x: %w", notRun),
		wrapped{ran, permanent(true)},
		wrapped{unknown, after(time.Minute)},
		errors.Join(errPlain, permanent(true), after(3)), errors.Join(notRun, unknown),
		fmt.Errorf("%w: %w", permanent(false), permanent(true)),
		fmt.Errorf("x: %w", errors.Join(after(5), wrapped{notRun, permanent(true)})),
		wrapped{notRun, errors.Join(unknown, after(7))},
		context.Canceled, fmt.Errorf("x: %w", context.Canceled), errors.Join(errPlain, context.Canceled),
		like{},
		io.EOF,
	}
	for _, err := range errs {
		signs, wait := Read(err)
		o, _ := Marked(err)
		want := ofOutcome(o) | ofPermanent(Permanent(err))
		if errors.Is(err, context.Canceled) {
			want |= SaysCanceled
		}
		wantWait, _ := RetryAfter(err)
		if signs != want || wait != wantWait {
			t.Errorf("Read(%v) = %b, %v, want %b, %v", err, signs, wait, want, wantWait)
		}
	}
}

// like is an error that is context.Canceled by its Is method, as net's are.
type like struct{}

func (like) Error() string     { return "like" }
func (like) Is(err error) bool { return err == context.Canceled }

func BenchmarkRead(b *testing.B) {
	for _, err := range []error{errPlain, notRun, fmt.Errorf("x: %w", errPlain)} {
		b.Run(fmt.Sprintf("%T", err), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Read(err)
			}
		})
	}
}
