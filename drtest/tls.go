package drtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/drtest/fault"
	"github.com/holdfast-go/holdfast/drtest/simnet"
)

// A tlsHost is the TLS side of an endpoint.
type tlsHost struct {
	name string
	cert tls.Certificate

	mu      sync.Mutex // guards all below
	faults  []*tlsFault
	trusted bool // name and authority of cert are in order
}

type tlsFault struct {
	how  fault.Failure
	over chan struct{} // closed when the fault ends
	cert func() (tls.Certificate, error)
}

var errHandshake = errors.New("drtest: handshake given up")

// spoilTLS makes the handshakes of a host fail.
func (w *World) spoilTLS(f fault.Fault) (undo func()) {
	w.mu.Lock()
	h := w.endpoints[f.Host+":443"].tls
	w.mu.Unlock()
	t := &tlsFault{f.Failure, make(chan struct{}), sync.OnceValues(func() (tls.Certificate, error) { return h.bad(f.Failure) })}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append(h.faults, t)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.faults = slices.DeleteFunc(h.faults, func(x *tlsFault) bool { return x == t })
		close(t.over)
	}
}

// fault returns the fault that is there, or nil.
func (h *tlsHost) fault() *tlsFault {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.faults) == 0 {
		return nil
	}
	return h.faults[0]
}

// config returns the configuration of the server.
func (h *tlsHost) config(ctx context.Context) *tls.Config {
	c := simnet.ServerTLS(h.cert)
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		f := h.fault()
		if f == nil {
			return nil, nil
		}
		if f.how == fault.FailHang {
			select {
			case <-f.over:
			case <-ctx.Done():
			}
			return nil, errHandshake
		}
		bad, err := f.cert()
		if err != nil {
			return nil, err
		}
		return simnet.ServerTLS(bad), nil
	}
	return c
}

// stranger signs what no client trusts.
var stranger = sync.OnceValue(func() *simnet.CA {
	ca, err := simnet.NewCA()
	if err != nil {
		panic(err) // only if the process has no randomness
	}
	return ca
})

// bad returns a certificate that clients refuse.
func (h *tlsHost) bad(how fault.Failure) (tls.Certificate, error) {
	now := time.Now()
	switch how {
	case fault.FailUnknownAuthority:
		return stranger().Issue(now.Add(-time.Hour), now.Add(24*time.Hour), h.name)
	case fault.FailWrongHost:
		return authority().Issue(now.Add(-time.Hour), now.Add(24*time.Hour), "not."+h.name)
	}
	return authority().Issue(now.Add(-48*time.Hour), now.Add(-time.Second), h.name)
}

// handshake is what single messages know of TLS: the error that the client of a connection would meet.
func (h *tlsHost) handshake(ctx context.Context) error {
	f, cert := h.fault(), h.cert
	if f != nil && f.how == fault.FailHang {
		select {
		case <-f.over:
			return errHandshake
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if f != nil {
		bad, err := f.cert()
		if err != nil {
			return err
		}
		return verify(bad, h.name)
	}
	return h.verify(cert)
}

// verify checks the host's own certificate. All but the date is checked once: requests are many.
func (h *tlsHost) verify(cert tls.Certificate) error {
	h.mu.Lock()
	trusted := h.trusted
	h.mu.Unlock()
	if now := time.Now(); trusted && now.After(cert.Leaf.NotBefore) && now.Before(cert.Leaf.NotAfter) {
		return nil
	}
	err := verify(cert, h.name)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trusted = err == nil
	return err
}

// verify checks a certificate as clients of a Region do.
func verify(cert tls.Certificate, name string) error {
	_, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: authority().Pool(), DNSName: name})
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: []*x509.Certificate{cert.Leaf}, Err: err}
	}
	return nil
}
