package app

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"

	"github.com/sluice-dev/sluice/services/edge/internal/cluster"
	"github.com/sluice-dev/sluice/services/edge/internal/config"
	"github.com/sluice-dev/sluice/services/edge/internal/front"
)

// join makes the front one of several, where the configuration says so. secure is the edge's own public side, nil without TLS.
func join(settings *front.Config, cfg config.Cluster, secure *tls.Config) error {
	if cfg.Name == "" {
		return nil
	}
	members, err := cluster.New(cluster.Config{Name: cfg.Name, Domain: cfg.Domain, Port: cfg.Port, Secure: secure != nil, Members: cfg.Members})
	if err != nil {
		return err
	}
	settings.Cluster = members
	if secure != nil {
		settings.ClusterTLS = func() (*tls.Config, error) { return memberTLS(secure) }
	}
	return nil
}

// memberTLS gives the configuration of a connection to an edge that serves the same name as this one. Such edges are asked by their addresses, for which no certificate is made: so what
// this edge shows itself, or what the same authority has signed for the same name, is trusted beside what the system trusts.
func memberTLS(server *tls.Config) (*tls.Config, error) {
	own, err := server.GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil { // a root directory without any
		roots = x509.NewCertPool()
	}
	var leaf *x509.Certificate
	for i, der := range own.Certificate {
		one, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("http.tls.cert: %w", err)
		}
		if i == 0 {
			leaf = one
		}
		roots.AddCert(one)
	}
	name := ""
	switch {
	case len(leaf.DNSNames) > 0:
		name = strings.Replace(leaf.DNSNames[0], "*", "edge", 1)
	case len(leaf.IPAddresses) > 0:
		name = leaf.IPAddresses[0].String()
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: name}, nil
}
