package redisstore_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/idempotency/redisstore"
	"github.com/holdfast-go/holdfast/idempotency/storetest"
	"github.com/holdfast-go/holdfast/internal/servertest"
)

// Over TLS, with a certificate that the client checks, and waiting callers on a TLS subscription.
func TestRedisOverTLS(t *testing.T) {
	plain := newClient(t, servertest.Start(t, servertest.Redis).Addr())
	cert, key, roots := selfSigned(t)
	port := strconv.Itoa(freePort(t))
	set := []any{"CONFIG", "SET", "tls-cert-file", cert, "tls-key-file", key, "tls-ca-cert-file", cert, "tls-auth-clients", "no", "tls-port", port}
	if err := plain.Do(t.Context(), set...).Err(); err != nil {
		t.Skipf("kit redis: this redis-server does not do TLS: %v", err)
	}
	client := redis.NewClient(&redis.Options{
		Addr: net.JoinHostPort("127.0.0.1", port), ContextTimeoutEnabled: true, TLSConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	})
	t.Cleanup(func() { client.Close() })
	if err := redis.NewClient(&redis.Options{Addr: client.Options().Addr, MaxRetries: -1}).Ping(t.Context()).Err(); err == nil {
		t.Fatal("the server takes plain text on its TLS port")
	}
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		return storetest.Subject{Store: newStore(t, client, redisstore.Config{Prefix: t.Name() + ":"}), Lose: func() { client.FlushAll(t.Context()) }}
	})
}

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certFile, keyFile = write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", private)
	roots = x509.NewCertPool()
	pemCert, err := os.ReadFile(certFile)
	if err != nil || !roots.AppendCertsFromPEM(pemCert) {
		t.Fatal("the certificate does not parse", err)
	}
	return certFile, keyFile, roots
}
