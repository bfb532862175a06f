//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/echo"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
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

// secrets is a folder with an end's TLS files, as a Secret is mounted.
type secrets string

func (s secrets) path(name string) string { return filepath.Join(string(s), name) }

// put writes PEM in the place of a file, in one step.
func (s secrets) put(t *testing.T, name, kind string, blocks ...[]byte) {
	t.Helper()
	var text []byte
	for _, b := range blocks {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b})...)
	}
	if err := errors.Join(os.WriteFile(s.path(name+".new"), text, 0o600), os.Rename(s.path(name+".new"), s.path(name))); err != nil {
		t.Fatal(err)
	}
}

// issue has an authority sign a certificate for a name.
func (s secrets) issue(t *testing.T, by authority, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, by.certificate, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, "cert.pem", "CERTIFICATE", cert)
	s.put(t, "key.pem", "PRIVATE KEY", der)
}

// trust names the authorities that are trusted.
func (s secrets) trust(t *testing.T, all ...authority) {
	t.Helper()
	var blocks [][]byte
	for _, a := range all {
		blocks = append(blocks, a.certificate.Raw)
	}
	s.put(t, "ca.pem", "CERTIFICATE", blocks...)
}

// edgeFlags gives an edge the secrets.
func (s secrets) edgeFlags() []string {
	return []string{"--router.tls.ca", s.path("ca.pem"), "--router.tls.cert", s.path("cert.pem"), "--router.tls.key", s.path("key.pem")}
}

// TestIdentitiesChange has edge and router prove to each other who they are, replaces everything that they prove it with, authority included, while sessions send, and then the
// router: no frame is lost. Who has a certificate of the authority but is no edge is turned away.
func TestIdentitiesChange(t *testing.T) {
	beside(t, 0.4)
	f := newFleet(t, echo.Serve(t, echo.Options{Takes: echoTakes, Deadline: echoDeadline}))
	before, now := newAuthority(t, "before"), newAuthority(t, "now")
	router, edge, other := secrets(t.TempDir()), secrets(t.TempDir()), secrets(t.TempDir())
	provide := func(by authority, trusted ...authority) {
		t.Helper()
		router.trust(t, trusted...)
		edge.trust(t, trusted...)
		router.issue(t, by, routersName)
		edge.issue(t, by, "edge.sluice.test")
	}
	provide(before, before)
	flags := []string{
		"--tls.cert", router.path("cert.pem"), "--tls.key", router.path("key.pem"), "--tls.client_ca", router.path("ca.pem"), "--tls.client_names", "edge.sluice.test",
	}
	f.startRouter(t, "127.0.0.1", flags...)
	f.tell("127.0.0.1")
	f.startEdge(t, edge.edgeFlags()...)
	callers := []*caller{call(t, f.edges[0].http, 0), call(t, f.edges[0].http, 1)}

	provide(before, before, now)
	provide(now, before, now)
	provide(now, now)
	f.startRouter(t, "127.0.0.2", flags...)
	f.tell("127.0.0.2")
	f.retire("127.0.0.1").Stop(t)
	moved := time.Now()
	for _, c := range callers {
		c.await(t, recoveryLimit, moved)
	}

	other.trust(t, now)
	other.issue(t, now, "somebody.sluice.test")
	listen := loopback(t)
	stack.Run(t, "", stack.Binary(t, "sluice-edge"), append([]string{
		"--http.listen", loopback(t), "--ice.udp", listen, "--ice.tcp", listen, "--ice.loopback", "--grpc.listen", loopback(t), "--admin.listen", loopback(t),
		"--router.target", f.routers["127.0.0.2"].calls, "--router.tls.name", routersName,
	}, other.edgeFlags()...)...)
	stack.Eventually(t, 20*time.Second, "the router turns a stranger away", func() error {
		if !strings.Contains(f.routers["127.0.0.2"].Log(), "somebody.sluice.test") {
			return errors.New("it has not said so")
		}
		return nil
	})

	var all account
	for _, c := range callers {
		c.hangUp(t, echoDeadline, &all)
	}
	all.log(t)
	if n := all.kinds["ROUTER_LOST"] + all.kinds["NO_ROUTER"] + all.kinds["DRAINING"]; n > 0 {
		t.Errorf("frames ended in %v", all.kinds)
	}
}
