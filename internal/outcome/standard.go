package outcome

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
)

// byStandardType knows where the standard library's errors say that a call broke off. It looks at
// err itself; the caller unwraps. Errors of a connection that may have carried the request are Unknown.
func byStandardType(err error) (Outcome, bool) {
	switch e := err.(type) {
	case *net.DNSError, *net.AddrError, net.UnknownNetworkError, net.InvalidAddrError:
		return NotRun, true
	case *net.OpError:
		return ofOpError(e), true
	case *tls.CertificateVerificationError, tls.RecordHeaderError, *tls.ECHRejectionError,
		x509.CertificateInvalidError, x509.HostnameError, x509.UnknownAuthorityError, x509.SystemRootsError:
		return NotRun, true
	case *url.Error:
		return ofURLError(e), true
	case syscall.Errno:
		return ofErrno(e)
	}
	return bySentinel(err)
}

// bySentinel compares err itself with the sentinels that name a lost or ended call.
func bySentinel(err error) (Outcome, bool) {
	switch err {
	case driver.ErrBadConn: // by its contract never returned if the server may have done the work
		return NotRun, true
	case io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, os.ErrDeadlineExceeded,
		context.Canceled, context.DeadlineExceeded:
		return Unknown, true
	}
	if strings.HasSuffix(err.Error(), tlsHandshakeTimeout) {
		return NotRun, true
	}
	return Ran, false
}

// tlsHandshakeTimeout is the text of net/http's unexported error type of that name.
const tlsHandshakeTimeout = "net/http: TLS handshake timeout"

// ofOpError: what fails while dialling never reached the other side. Later errors of a connection
// leave the request's fate open, but for alerts that only a handshake sends.
func ofOpError(e *net.OpError) Outcome {
	if e.Op == "dial" {
		return NotRun
	}
	if (e.Op == "remote error" || e.Op == "local error") && e.Err != nil && handshakeAlerts[e.Err.Error()] {
		return NotRun
	}
	return Unknown
}

// ofURLError covers everything net/http's Client returns. What its cause does not place is a broken
// exchange of unknown fate, unless the request never left because its URL could not be used.
func ofURLError(e *url.Error) Outcome {
	if e.Op == "parse" || e.Err == nil {
		return NotRun
	}
	if o, ok := find(e.Err, true); ok {
		return o
	}
	for _, text := range neverSent {
		if strings.Contains(e.Err.Error(), text) {
			return NotRun
		}
	}
	return Unknown
}

// neverSent are net/http's untyped errors of requests that it refused to send.
var neverSent = []string{
	"unsupported protocol scheme",
	"http: nil Request",
	"http: no Host in request URL",
	"net/http: invalid",
	"net/http: request canceled while waiting for connection",
}

// handshakeAlerts are the TLS alerts that only a handshake sends (RFC 8446, section 6.2), as crypto/tls
// prints them. A server that sends one has not read a request, even where TLS 1.3 lets the client write first.
var handshakeAlerts = map[string]bool{
	"tls: handshake failure":               true,
	"tls: bad certificate":                 true,
	"tls: unsupported certificate":         true,
	"tls: revoked certificate":             true,
	"tls: expired certificate":             true,
	"tls: unknown certificate":             true,
	"tls: unknown certificate authority":   true,
	"tls: access denied":                   true,
	"tls: protocol version not supported":  true,
	"tls: insufficient security level":     true,
	"tls: inappropriate fallback":          true,
	"tls: missing extension":               true,
	"tls: unsupported extension":           true,
	"tls: unrecognized name":               true,
	"tls: bad certificate status response": true,
	"tls: unknown PSK identity":            true,
	"tls: certificate required":            true,
	"tls: no application protocol":         true,
	"tls: encrypted client hello required": true,
}

// ofErrno places bare system errors: refused and unreachable come from connecting, the others
// from a connection that stood.
func ofErrno(e syscall.Errno) (Outcome, bool) {
	switch e {
	case syscall.ECONNREFUSED:
		return NotRun, true
	case syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
		syscall.ENETUNREACH, syscall.EHOSTUNREACH:
		return Unknown, true
	}
	return Ran, false
}
