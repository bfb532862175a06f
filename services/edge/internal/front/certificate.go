package front

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// recheckEvery is how often, at most, the files of a certificate are looked at. Handshakes in between use what is loaded.
const recheckEvery = time.Second

// Certificate is a TLS certificate that follows its files: a handshake looks whether they have changed, at most once a second. Files that
// cannot be used leave the last good certificate in service. It is safe for concurrent use.
type Certificate struct {
	certPath, keyPath string
	logger            *slog.Logger
	failures          prometheus.Counter
	// clock is time.Now; tests turn it.
	clock func() time.Time

	mu      sync.Mutex
	current *tls.Certificate
	seen    [2]stamp
	checked time.Time
}

// stamp tells versions of a file apart.
type stamp struct {
	modified time.Time
	size     int64
	inode    os.FileInfo // for os.SameFile: Kubernetes replaces a link, not the file
}

func (s stamp) same(other stamp) bool {
	return s.size == other.size && s.modified.Equal(other.modified) && s.inode != nil && other.inode != nil && os.SameFile(s.inode, other.inode)
}

// LoadCertificate reads a certificate chain and its key, both PEM. It fails when they cannot be used.
func LoadCertificate(certPath, keyPath string, logger *slog.Logger, registry prometheus.Registerer) (*Certificate, error) {
	c := &Certificate{
		certPath: certPath, keyPath: keyPath, logger: logger, clock: time.Now,
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_edge_certificate_reload_failures_total",
			Help: "Changed TLS certificate files that could not be used; the last good certificate stays in service.",
		}),
	}
	if err := registry.Register(c.failures); err != nil {
		return nil, fmt.Errorf("front: %w", err)
	}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// Config gives the TLS configuration of a server that uses the certificate: TLS 1.2 or newer, HTTP/2 and HTTP/1.1.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: c.get}
}

func (c *Certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.clock(); now.Sub(c.checked) >= recheckEvery {
		c.checked = now
		if err := c.load(); err != nil {
			c.failures.Inc()
			c.logger.Error("the changed TLS certificate cannot be used; the old one stays", "error", err)
		}
	}
	return c.current, nil
}

// load reads the files if they have changed since they were last read.
func (c *Certificate) load() error {
	seen, err := c.stamps()
	if err != nil {
		return fmt.Errorf("http.tls: %w", err)
	}
	if seen[0].same(c.seen[0]) && seen[1].same(c.seen[1]) {
		return nil
	}
	// Remembered even if they turn out broken, so that a broken pair is reported once and not at every handshake.
	c.seen = seen
	pair, err := tls.LoadX509KeyPair(c.certPath, c.keyPath)
	if err != nil {
		return fmt.Errorf("http.tls: certificate %s with key %s: %w", c.certPath, c.keyPath, err)
	}
	c.current = &pair
	return nil
}

func (c *Certificate) stamps() (seen [2]stamp, err error) {
	for i, name := range []string{c.certPath, c.keyPath} {
		info, err := os.Stat(name)
		if err != nil {
			return seen, err
		}
		seen[i] = stamp{modified: info.ModTime(), size: info.Size(), inode: info}
	}
	return seen, nil
}
