package serve

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// recheckEvery is how often, at most, the files of an identity are looked at. Handshakes in between use what is loaded.
const recheckEvery = time.Second

// TLSFiles are the PEM files of one end of TLS connections. Each may be empty; Cert and Key belong together.
type TLSFiles struct {
	// Cert is the end's own certificate chain, Key its private key.
	Cert, Key string
	// CA holds the certificates that sign the other end's. A server without it asks its clients for none; a client without it trusts whom the system trusts.
	CA string
	// CAKey is the configuration key of CA, for errors. Empty means ca below that of all three.
	CAKey string
}

// Identities load the identities of a process and count what goes wrong with them. They are safe for concurrent use.
type Identities struct {
	logger   *slog.Logger
	failures *prometheus.CounterVec
}

// NewIdentities makes it. service begins the metric's name, as sluice_edge.
func NewIdentities(service string, logger *slog.Logger, registry prometheus.Registerer) (*Identities, error) {
	i := &Identities{logger: logger, failures: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: service + "_certificate_reload_failures_total",
		Help: "Changed TLS files that could not be used, by the configuration key of them; the last good ones stay in service.",
	}, []string{"key"})}
	if err := registry.Register(i.failures); err != nil {
		return nil, fmt.Errorf("register the metric of certificates: %w", err)
	}
	return i, nil
}

// Identity is one end's part in TLS connections: its own certificate, and the authorities that it trusts. It follows its files, which may be replaced, or be links that are,
// as in Kubernetes: a handshake looks whether they have changed, at most once a second. Files that cannot be used leave the last good ones in service; connections that are
// open stay as they are. It is safe for concurrent use.
type Identity struct {
	key      string // of the configuration, for errors
	files    TLSFiles
	logger   *slog.Logger
	failures prometheus.Counter

	mu      sync.Mutex
	current material
	seen    Watched
	checked time.Time
}

// material is what the files of an identity hold. It does not change.
type material struct {
	certificate *tls.Certificate // nil for none
	authorities *x509.CertPool   // nil for none
}

// Load reads the files. It fails when they cannot be used; the error begins with the configuration key of the files, as http.tls.
func (i *Identities) Load(key string, files TLSFiles) (*Identity, error) {
	identity := &Identity{key: key, files: files, logger: i.logger, failures: i.failures.WithLabelValues(key)}
	if err := identity.load(); err != nil {
		return nil, err
	}
	return identity, nil
}

// CheckTLS tells whether files can be used, as Load does.
func CheckTLS(key string, files TLSFiles) error { return (&Identity{key: key, files: files}).load() }

// now gives what the files hold.
func (i *Identity) now() material {
	i.mu.Lock()
	defer i.mu.Unlock()
	if now := time.Now(); now.Sub(i.checked) >= recheckEvery {
		i.checked = now
		if err := i.load(); err != nil {
			i.failures.Inc()
			i.logger.Error("changed TLS files cannot be used; the old ones stay", "error", err)
		}
	}
	return i.current
}

// load reads the files if they have changed since they were last read.
func (i *Identity) load() error {
	// What turns out broken is remembered too, so that it is reported once and not at every handshake.
	changed, err := i.seen.Changed(i.files.Cert, i.files.Key, i.files.CA)
	var missing *fs.PathError
	switch {
	case errors.As(err, &missing) && missing.Path == i.files.CA:
		return fmt.Errorf("%s: %w", i.caKey(), err)
	case err != nil:
		return fmt.Errorf("%s: %w", i.key, err)
	}
	if !changed {
		return nil
	}
	var read material
	if i.files.Cert != "" {
		pair, err := tls.LoadX509KeyPair(i.files.Cert, i.files.Key)
		if err != nil {
			return fmt.Errorf("%s: certificate %s with key %s: %w", i.key, i.files.Cert, i.files.Key, err)
		}
		read.certificate = &pair
	}
	if i.files.CA != "" {
		if read.authorities, err = authorities(i.files.CA); err != nil {
			return fmt.Errorf("%s: %w", i.caKey(), err)
		}
	}
	i.current = read
	return nil
}

func (i *Identity) caKey() string { return cmp.Or(i.files.CAKey, i.key+".ca") }

// authorities reads the certificates that sign others.
func authorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return pool, nil
}

var errNoCertificate = errors.New("a server needs a certificate")

// Server gives the configuration of a TLS server with the identity, of which each handshake has what the files hold then. version is the least one spoken, and protocols are what
// it offers by ALPN. With authorities, clients need a certificate that one of them signed, and with names one for any of these DNS names and URIs besides, letter for letter.
func (i *Identity) Server(version uint16, protocols []string, names ...string) *tls.Config {
	c := &tls.Config{MinVersion: version, NextProtos: protocols}
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if now := i.now(); now.certificate != nil {
			return now.certificate, nil
		}
		return nil, errNoCertificate
	}
	if i.files.CA == "" {
		return c
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	// What was resumed would not be held against the authorities of today.
	c.SessionTicketsDisabled = true
	c.VerifyConnection = func(s tls.ConnectionState) error {
		err := admit(s.PeerCertificates[0], names)
		if err != nil {
			i.logger.Warn("a client was turned away", "key", i.key, "reason", err)
		}
		return err
	}
	mutual := c.Clone()
	mutual.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		today := c.Clone()
		today.ClientCAs = i.now().authorities
		return today, nil
	}
	return mutual
}

// admit tells whether a certificate that has been verified is for one of the names; any is, when there are none.
func admit(certificate *x509.Certificate, names []string) error {
	if len(names) == 0 {
		return nil
	}
	has := slices.Clone(certificate.DNSNames)
	for _, uri := range certificate.URIs {
		has = append(has, uri.String())
	}
	if slices.ContainsFunc(has, func(name string) bool { return slices.Contains(names, name) }) {
		return nil
	}
	return fmt.Errorf("a certificate for %q is not let in", has)
}

// Client gives the configuration of one handshake of a TLS client with the identity as its files are now. version is the least one spoken. The server's certificate must be
// for name, or, where that is empty, for the name that the connection was made to.
func (i *Identity) Client(version uint16, name string) *tls.Config {
	now := i.now()
	c := &tls.Config{MinVersion: version, RootCAs: now.authorities, ServerName: name}
	if now.certificate != nil {
		c.Certificates = []tls.Certificate{*now.certificate}
	}
	return c
}
