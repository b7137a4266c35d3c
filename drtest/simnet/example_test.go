package simnet_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// Outside a bubble the network works on wall time; in synctest.Test the same program takes no time at all.
func Example() {
	n := simnet.New(simnet.Config{Seed: 1})
	n.SetLinks("users", "us-east-1", simnet.Shape{Latency: time.Millisecond})
	l, err := n.Listen("us-east-1", "echo:7")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(c, c)
	}()

	c, err := n.Dialer("users")(context.Background(), "tcp", "echo:7")
	if err != nil {
		log.Fatal(err)
	}
	heal := n.Overlay("users", "us-east-1", func(s *simnet.Shape) { s.Mode = simnet.ModeBlackhole })
	fmt.Fprintln(c, "into the dark")
	time.AfterFunc(10*time.Millisecond, heal) // the bytes arrive at TCP's next retransmission
	answer := make([]byte, 13)
	_, err = io.ReadFull(c, answer)
	fmt.Println(string(answer), err)
	// Output: into the dark <nil>
}
