package proxy

import (
	"net"
	"syscall"
	"time"
)

// A door makes the kernel answer new connections as a link in some mode does. Its methods are called by one
// goroutine.
type door struct {
	l        *net.TCPListener
	shut     bool
	refusing bool
	filling  []net.Conn
}

const backlog = 4096

// open lets connections in.
func (d *door) open() {
	if !d.shut {
		return
	}
	d.control(func(fd int) error { return syscall.Listen(fd, backlog) })
	d.shut, d.refusing = false, false
}

// refuse makes new connections fail with ECONNREFUSED: the socket stops listening and keeps its port.
func (d *door) refuse() bool {
	if d.refusing { // a socket that does not listen cannot stop
		return true
	}
	d.letGo()
	d.refusing = d.control(func(fd int) error { return syscall.Shutdown(fd, syscall.SHUT_RD) })
	d.shut = true
	return d.refusing
}

// fill is how long a connection of our own may wait for a place in the queue before that counts as full.
const (
	fill      = 50 * time.Millisecond
	mostFills = 8
)

// silence makes the kernel drop SYNs: it does so while the queue of connections that nobody accepts is full, and a
// backlog of 0 is full with one.
func (d *door) silence() bool {
	d.open()
	d.shut = true
	if !d.control(func(fd int) error { return syscall.Listen(fd, 0) }) {
		return false
	}
	for range mostFills {
		c, err := net.DialTimeout("tcp", d.l.Addr().String(), fill)
		if err != nil {
			return true
		}
		d.filling = append(d.filling, c)
	}
	return false
}

// fillers reports whether an accepted connection is one that filled the queue.
func (d *door) fillers(c net.Conn) bool {
	for i, f := range d.filling {
		if f.LocalAddr().String() == c.RemoteAddr().String() {
			_ = f.Close()
			d.filling = append(d.filling[:i:i], d.filling[i+1:]...)
			return true
		}
	}
	return false
}

// letGo closes the connections that fill the queue.
func (d *door) letGo() {
	for _, f := range d.filling {
		_ = f.Close()
	}
	d.filling = nil
}

// control runs f on the listener's descriptor.
func (d *door) control(f func(fd int) error) bool {
	raw, err := d.l.SyscallConn()
	if err != nil {
		return false
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return false
	}
	return failed == nil
}
