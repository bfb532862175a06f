package serve

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/test/bufconn"
)

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte(name),
	}
	key := newKey(t)
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

// folder is where an end's files are.
type folder string

func (f folder) files() TLSFiles {
	return TLSFiles{Cert: f.path("cert.pem"), Key: f.path("key.pem"), CA: f.path("ca.pem")}
}

func (f folder) path(name string) string { return filepath.Join(string(f), name) }

// write puts blocks of PEM into a file in the place of what was there, in one step.
func (f folder) write(t *testing.T, name, kind string, blocks ...[]byte) {
	t.Helper()
	var text []byte
	for _, b := range blocks {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b})...)
	}
	if err := os.WriteFile(f.path(name+".new"), text, 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.path(name+".new"), f.path(name)); err != nil {
		t.Fatal(err)
	}
}

// issue has an authority sign a certificate for a name, or URI, that is good for so long.
func (f folder) issue(t *testing.T, by authority, name string, life time.Duration) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(life),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if strings.Contains(name, "://") {
		uri, err := url.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = []*url.URL{uri}
	} else {
		template.DNSNames = []string{name}
	}
	key := newKey(t)
	cert, err := x509.CreateCertificate(rand.Reader, template, by.certificate, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	f.write(t, "cert.pem", "CERTIFICATE", cert)
	f.write(t, "key.pem", "PRIVATE KEY", der)
}

// trust names the authorities that the end trusts.
func (f folder) trust(t *testing.T, authorities ...authority) {
	t.Helper()
	var blocks [][]byte
	for _, a := range authorities {
		blocks = append(blocks, a.certificate.Raw)
	}
	f.write(t, "ca.pem", "CERTIFICATE", blocks...)
}

// identities gives a maker of identities for a test.
func identities(t *testing.T) *Identities {
	t.Helper()
	i, err := NewIdentities("test", slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// end makes an end that trusts an authority, with a certificate that it signed.
func end(t *testing.T, by authority, name string, life time.Duration) (folder, *Identity) {
	t.Helper()
	f := folder(t.TempDir())
	f.issue(t, by, name, life)
	f.trust(t, by)
	i, err := identities(t).Load("tls", f.files())
	if err != nil {
		t.Fatal(err)
	}
	return f, i
}

// meet has two gRPC ends shake hands and send a byte each way: in TLS 1.3 a client learns only then whether it was let in.
func meet(t *testing.T, server, client *Identity, names ...string) error {
	t.Helper()
	l := bufconn.Listen(64 << 10)
	defer func() { _ = l.Close() }()
	served := make(chan error, 1)
	go func() {
		raw, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		defer func() { _ = raw.Close() }()
		conn, _, err := server.ServerCredentials(names...).ServerHandshake(raw)
		if err == nil {
			_, err = io.CopyN(conn, conn, 1)
		}
		served <- err
	}()
	raw, err := l.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	conn, _, err := client.ClientCredentials(tls.VersionTLS13, "").ClientHandshake(t.Context(), "router:50051", raw)
	if err == nil {
		_, err = conn.Write([]byte{1})
	}
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	_ = raw.Close()
	return errors.Join(err, <-served)
}

// Only who has a certificate of the right authority, and for one of the names where there are any, is let in.
func TestWhoIsLetIn(t *testing.T) {
	t.Parallel()
	const uri = "spiffe://example.org/sluice/edge"
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	_, server := end(t, ours, "router", time.Hour)
	_, edge := end(t, ours, "edge", time.Hour)
	_, spiffe := end(t, ours, uri, time.Hour)
	strange, _ := end(t, theirs, "edge", time.Hour)
	strange.trust(t, ours)
	stranger, err := identities(t).Load("tls", strange.files())
	if err != nil {
		t.Fatal(err)
	}
	_, elsewhere := end(t, ours, "other-router", time.Hour)
	_, distrusted := end(t, theirs, "router", time.Hour)
	files := strange.files()
	files.Cert, files.Key = "", ""
	nobody, err := identities(t).Load("tls", files)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		server, client *Identity
		names          []string
		want           string
	}{
		"any name":              {server, edge, nil, ""},
		"the name":              {server, edge, []string{"gateway", "edge"}, ""},
		"the URI":               {server, spiffe, []string{uri}, ""},
		"another name":          {server, edge, []string{"gateway", "edge.example"}, "not let in"},
		"another URI":           {server, spiffe, []string{uri + "/0"}, "not let in"},
		"another authority":     {server, stranger, nil, "unknown authority"},
		"no certificate":        {server, nobody, nil, "didn't provide a certificate"},
		"another server":        {elsewhere, edge, nil, "not router"},
		"a server not to trust": {distrusted, edge, nil, "unknown authority"},
		"no server's identity":  {nobody, edge, nil, "a server needs a certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := meet(t, c.server, c.client, c.names...)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// New handshakes use what the files hold now, at both ends, and what has expired or is trusted no more is refused.
func TestRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		old, young := newAuthority(t, "old"), newAuthority(t, "young")
		routerFiles, router := end(t, old, "router", time.Hour)
		edgeFiles, edge := end(t, old, "edge", time.Hour)
		good := func(when string) {
			t.Helper()
			if err := meet(t, router, edge); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
		bad := func(when, want string) {
			t.Helper()
			if err := meet(t, router, edge); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", when, err, want)
			}
		}
		good("at first")
		after(2 * time.Hour)
		bad("two hours later, with certificates good for one", "expired")
		routerFiles.issue(t, old, "router", time.Hour)
		after(recheckEvery)
		bad("with the edge's still expired", "expired")
		edgeFiles.issue(t, old, "edge", time.Hour)
		after(recheckEvery)
		good("with new certificates")
		routerFiles.issue(t, young, "router", time.Hour)
		after(recheckEvery)
		bad("with a router of an authority that the edge does not trust", "unknown authority")
		edgeFiles.trust(t, old, young)
		after(recheckEvery)
		good("trusting both")
		edgeFiles.issue(t, young, "edge", time.Hour)
		after(recheckEvery)
		bad("with an edge of an authority that the router does not trust", "unknown authority")
		routerFiles.trust(t, young)
		after(recheckEvery)
		good("with all of the new authority")
		edgeFiles.issue(t, old, "edge", time.Hour)
		after(recheckEvery)
		bad("with an edge of the authority of before", "unknown authority")
	})
}

// Files that cannot be used leave the last good ones in service, and are complained of once.
func TestBrokenFiles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t, "ca")
		files, router := end(t, ca, "router", time.Hour)
		_, edge := end(t, ca, "edge", time.Hour)
		check := func(when string, failures float64) {
			t.Helper()
			after(recheckEvery)
			for range 2 { // the second one within a second
				if err := meet(t, router, edge); err != nil {
					t.Errorf("%s: %v", when, err)
				}
			}
			if got := testutil.ToFloat64(router.failures); got != failures {
				t.Errorf("%s: %v failures counted, want %v", when, got, failures)
			}
		}
		check("at the start", 0)
		files.write(t, "cert.pem", "NOTHING")
		check("with a broken certificate", 1)
		check("with the same broken certificate", 1)
		if err := os.Remove(files.path("key.pem")); err != nil {
			t.Fatal(err)
		}
		check("without a key", 2)
		files.issue(t, ca, "router", time.Hour)
		check("mended", 2)
		files.write(t, "ca.pem", "NOTHING")
		check("with broken authorities", 3)
		files.trust(t, ca)
		check("mended again", 3)
	})
}

// HTTP's clients need no certificate, and old versions are not spoken.
func TestServerWithoutAuthorities(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ca")
	files, _ := end(t, ca, "edge.example", time.Hour)
	identity, err := identities(t).Load("http.tls", TLSFiles{Cert: files.path("cert.pem"), Key: files.path("key.pem")})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", identity.Server(tls.VersionTLS12, []string{"h2", "http/1.1"}))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake() // The client tells how it went.
			_ = conn.Close()
		}
	}()
	defer func() { _ = l.Close(); <-done }()
	trust := x509.NewCertPool()
	trust.AddCert(ca.certificate)
	for version, want := range map[uint16]bool{tls.VersionTLS13: true, tls.VersionTLS12: true, tls.VersionTLS11: false} {
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: trust, ServerName: "edge.example", MaxVersion: version, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS10})
		if (err == nil) != want {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			if got := conn.ConnectionState().NegotiatedProtocol; got != "h2" {
				t.Errorf("%s: protocol %q", tls.VersionName(version), got)
			}
			_ = conn.Close()
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ca")
	one, _ := end(t, ca, "one", time.Hour)
	other, _ := end(t, ca, "other", time.Hour)
	cert, key, pool := one.path("cert.pem"), one.path("key.pem"), one.path("ca.pem")
	for name, c := range map[string]struct {
		files TLSFiles
		want  string
	}{
		"no file":              {TLSFiles{Cert: one.path("none.pem"), Key: key}, "router.tls: "},
		"another's key":        {TLSFiles{Cert: cert, Key: other.path("key.pem")}, "router.tls: certificate " + cert},
		"swapped":              {TLSFiles{Cert: key, Key: cert}, "router.tls: certificate " + key},
		"no authority":         {TLSFiles{CA: key}, "router.tls.ca: " + key + " holds no certificate"},
		"no client's":          {TLSFiles{CA: key, CAKey: "tls.client_ca"}, "tls.client_ca: "},
		"authorities' absence": {TLSFiles{Cert: cert, Key: key, CA: pool + ".none"}, "router.tls.ca: "},
	} {
		_, err := identities(t).Load("router.tls", c.files)
		if again := CheckTLS("router.tls", c.files); err == nil || again == nil || err.Error() != again.Error() || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, then %v; want an error with %q", name, err, again, c.want)
		}
	}
	if err := CheckTLS("router.tls", TLSFiles{}); err != nil {
		t.Errorf("without files: %v", err)
	}
}
