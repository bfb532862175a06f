package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"google.golang.org/grpc/credentials"

	sharedconfig "github.com/sluice-dev/sluice/pkg/config"
	"github.com/sluice-dev/sluice/services/router/internal/config"
)

// listenerCredentials gives what secures the connections from edges, nil for plaintext.
func listenerCredentials(c config.TLS) (credentials.TransportCredentials, error) {
	if c.Cert == "" {
		return nil, nil //nolint:nilnil // Both nil is what gRPC takes for plaintext.
	}
	certificate, err := tls.LoadX509KeyPair(string(c.Cert), string(c.Key))
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	settings := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13}
	if c.ClientCA != "" {
		if settings.ClientCAs, err = authorities(c.ClientCA); err != nil {
			return nil, fmt.Errorf("tls.client_ca: %w", err)
		}
		settings.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return credentials.NewTLS(settings), nil
}

// serverTLS gives what secures the connections to model servers, nil when nothing is said about it. Without authorities of their own the system's sign the servers'
// certificates. Not all servers speak the newest version.
func serverTLS(c config.ServerTLS) (*tls.Config, error) {
	if c == (config.ServerTLS{}) {
		return nil, nil //nolint:nilnil // Both nil is what the drivers take for their defaults.
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		roots, err := authorities(c.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		settings.RootCAs = roots
	}
	if c.Cert != "" {
		own, err := tls.LoadX509KeyPair(string(c.Cert), string(c.Key))
		if err != nil {
			return nil, fmt.Errorf("tls: certificate %s with key %s: %w", c.Cert, c.Key, err)
		}
		settings.Certificates = []tls.Certificate{own}
	}
	return settings, nil
}

// authorities reads the certificates that sign others.
func authorities(file sharedconfig.Path) (*x509.CertPool, error) {
	pem, err := os.ReadFile(string(file))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return pool, nil
}
