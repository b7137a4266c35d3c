package proxy

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// Both directions of a link are set to refuse one after the other: the door is asked twice.
func TestDoorRefusesAgain(t *testing.T) {
	l, err := listenOn("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := door{l: l}
	for range 2 {
		for range 2 {
			if !d.refuse() {
				t.Fatal("the door does not refuse")
			}
			if _, err := net.Dial("tcp", l.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatalf("Dial = %v, want a refusal", err)
			}
		}
		d.open()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatalf("Dial of an open door = %v", err)
		}
		c.Close()
	}
}
