package app

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"

	"github.com/sluice-dev/sluice/services/edge/internal/config"
	"github.com/sluice-dev/sluice/services/edge/internal/front"
)

// routerCredentials gives what secures the connections to routers, nil for plaintext. The edge's own certificate is read again at each
// handshake, so that a new one is used without a restart.
func routerCredentials(cfg config.RouterTLS) (credentials.TransportCredentials, error) {
	if cfg.CA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(string(cfg.CA))
	if err != nil {
		return nil, fmt.Errorf("router.tls.ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("router.tls.ca: %s holds no PEM certificate", cfg.CA)
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots}
	if cfg.Cert != "" {
		own := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(string(cfg.Cert), string(cfg.Key))
			if err != nil {
				return nil, fmt.Errorf("router.tls: certificate %s with key %s: %w", cfg.Cert, cfg.Key, err)
			}
			return &pair, nil
		}
		if _, err := own(); err != nil {
			return nil, err
		}
		secure.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own() }
	}
	return credentials.NewTLS(secure), nil
}

// Check tells whether the files that a validated configuration names can be used. It starts nothing.
func Check(cfg config.Config) error {
	_, err := routerCredentials(cfg.Router.TLS)
	if cfg.HTTP.TLS.Cert == "" {
		return err
	}
	_, failed := front.LoadCertificate(string(cfg.HTTP.TLS.Cert), string(cfg.HTTP.TLS.Key), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	return errors.Join(err, failed)
}
