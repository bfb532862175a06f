package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	sharedconfig "github.com/sluice-dev/sluice/pkg/config"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/serve"
	"github.com/sluice-dev/sluice/pkg/tensor"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
	"github.com/sluice-dev/sluice/services/router/internal/config"
)

// authority signs certificates for the loopback address.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte(name),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{certificate, key}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign writes a certificate and its key, and the authority's own certificate, as PEM files.
func (a authority) sign(t *testing.T) (cert, key, ca string) {
	t.Helper()
	private := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, private.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", pkcs8), write("ca.pem", "CERTIFICATE", a.certificate.Raw)
}

// TestMutualTLS lets in the edges whose certificate the configured authority signed, and nobody else.
func TestMutualTLS(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	cert, key, ca := ours.sign(t)
	r := launch(t, "--config", shipped(t, "", ""), "--tls.cert", cert, "--tls.key", key, "--tls.client_ca", ca)
	roots := x509.NewCertPool()
	roots.AddCert(ours.certificate)
	with := func(a authority) credentials.TransportCredentials {
		cert, key, _ := a.sign(t)
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "localhost", Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13})
	}
	for name, c := range map[string]struct {
		credentials credentials.TransportCredentials
		want        codes.Code
	}{
		"ours":           {with(ours), codes.OK},
		"theirs":         {with(theirs), codes.Unavailable},
		"no certificate": {credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS13}), codes.Unavailable},
		"plaintext":      {insecure.NewCredentials(), codes.Unavailable},
	} {
		conn, err := grpc.NewClient(r.conn.Target(), grpc.WithTransportCredentials(c.credentials))
		if err != nil {
			t.Fatal(err)
		}
		_, err = sluicev1.NewInspectServiceClient(conn).ListModels(t.Context(), &sluicev1.ListModelsRequest{})
		if got := status.Code(err); got != c.want {
			t.Errorf("%s: %v (%v), want %v", name, got, err, c.want)
		}
		_ = conn.Close()
	}
}

// TestRotatedCertificates replaces the files of a running router, authority and all: connections that are there go on, and new ones are held to the new files.
func TestRotatedCertificates(t *testing.T) {
	t.Parallel()
	before, now := newAuthority(t, "before"), newAuthority(t, "now")
	dir := t.TempDir()
	put := func(a authority) {
		t.Helper()
		cert, key, ca := a.sign(t)
		for name, file := range map[string]string{"ca.pem": ca, "key.pem": key, "cert.pem": cert} {
			if err := os.Rename(file, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(before)
	r := launch(t, "--config", shipped(t, "", ""), "--tls.cert", filepath.Join(dir, "cert.pem"), "--tls.key", filepath.Join(dir, "key.pem"),
		"--tls.client_ca", filepath.Join(dir, "ca.pem"), "--tls.client_names", "gateway,localhost")
	ask := func(conn *grpc.ClientConn) codes.Code {
		_, err := sluicev1.NewInspectServiceClient(conn).ListModels(t.Context(), &sluicev1.ListModelsRequest{})
		return status.Code(err)
	}
	dial := func(a authority) *grpc.ClientConn {
		t.Helper()
		cert, key, ca := a.sign(t)
		identity, err := identities(t).Load("tls", serve.TLSFiles{Cert: cert, Key: key, CA: ca})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := grpc.NewClient(r.conn.Target(), grpc.WithTransportCredentials(identity.ClientCredentials(tls.VersionTLS13, "localhost")))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	old := dial(before)
	if got := ask(old); got != codes.OK {
		t.Fatalf("before: %v", got)
	}
	put(now)
	deadline := time.After(time.Minute)
	for ask(dial(now)) != codes.OK {
		select {
		case <-deadline:
			t.Fatalf("nobody of the new authority is let in after a minute\n%s", r.logs)
		case <-time.After(50 * time.Millisecond):
		}
	}
	if got := ask(dial(before)); got != codes.Unavailable {
		t.Errorf("one of the authority of before: %v, want UNAVAILABLE", got)
	}
	if got := ask(old); got != codes.OK {
		t.Errorf("the connection of before: %v, want that it goes on", got)
	}
}

// TestTLSToModelServers asks a model server that lets in only those whose certificate the configured authority signed.
func TestTLSToModelServers(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	cert, key, ca := ours.sign(t)
	strangeCert, strangeKey, strangeCA := theirs.sign(t)
	secure, err := listenerCredentials(config.TLS{Cert: sharedconfig.Path(cert), Key: sharedconfig.Path(key), ClientCA: sharedconfig.Path(ca)}, identities(t))
	if err != nil {
		t.Fatal(err)
	}
	served := backend.Config{Input: tensor.Picture{Width: 2, Height: 2, Layout: tensor.NCHW, Datatype: media.FP32, Scale: [3]float64{1, 1, 1}}, MaxBatch: 1}
	address := backendtest.Serve(t, &backendtest.Server{Model: "m", Driver: backendtest.NewFake("m", served)}, grpc.Creds(secure))
	for name, c := range map[string]struct {
		tls  string
		want media.ErrorCode
	}{
		"ours":             {fmt.Sprintf("{ca: %s, cert: %s, key: %s}", ca, cert, key), media.NoError},
		"no certificate":   {fmt.Sprintf("{ca: %s}", ca), media.BackendUnavailable},
		"a stranger's":     {fmt.Sprintf("{ca: %s, cert: %s, key: %s}", ca, strangeCert, strangeKey), media.BackendUnavailable},
		"a strange server": {fmt.Sprintf("{ca: %s, cert: %s, key: %s}", strangeCA, cert, key), media.BackendUnavailable},
		"plaintext":        {"{}", media.BackendUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := openModels(loaded(t, fmt.Sprintf(`
models:
  - name: m
    backend: {oip: {targets: ["%s"], tls: %s}}
    input: {width: 2, height: 2, fit: stretch, color: RGB, layout: NCHW, dtype: FP32}
    output: {decoder: tensors}
`, address, c.tls)), identities(t), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer m.close()
			if err := m.check(t.Context(), m.all); err != nil {
				t.Error(err)
			}
			if got := backend.CodeOf(m.all[0].backend.Available()); got != c.want {
				t.Errorf("%v (%v), want %v", got, m.all[0].backend.Available(), c.want)
			}
		})
	}
}

// TestUnusableFilesOfModelServers names the key of a file that is there and holds something else.
func TestUnusableFilesOfModelServers(t *testing.T) {
	t.Parallel()
	_, key, ca := newAuthority(t, "ours").sign(t)
	for name, c := range map[string]struct{ tls, want string }{
		"no authority":   {fmt.Sprintf("{ca: %s}", key), "models[0] (m): backend.oip.tls.ca: " + key + " holds no certificate"},
		"no certificate": {fmt.Sprintf("{ca: %s, cert: %s, key: %s}", ca, key, key), "models[0] (m): backend.oip.tls: certificate " + key},
	} {
		_, err := openModels(loaded(t, fmt.Sprintf(`
models:
  - name: m
    backend: {oip: {targets: ["127.0.0.1:1"], tls: %s}}
    input: {kind: document}
    output: {decoder: json}
`, c.tls)), identities(t), slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
}

func identities(t *testing.T) *serve.Identities {
	t.Helper()
	i, err := serve.NewIdentities("test", slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// loaded reads a configuration.
func loaded(t *testing.T, text string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "router.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	sharedconfig.Bind(flags, &c)
	if err := c.Load(flags, file, nil); err != nil {
		t.Fatal(err)
	}
	return &c
}
