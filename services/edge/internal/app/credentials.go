package app

import (
	"crypto/tls"
	"errors"

	"google.golang.org/grpc/credentials"

	"github.com/sluice-dev/sluice/pkg/serve"
	"github.com/sluice-dev/sluice/services/edge/internal/config"
)

// httpTLS gives the files of the public side, with their configuration key.
func httpTLS(cfg config.KeyPair) (string, serve.TLSFiles) {
	return "http.tls", serve.TLSFiles{Cert: string(cfg.Cert), Key: string(cfg.Key)}
}

// routerTLS gives the files of the way to the routers, with their configuration key.
func routerTLS(cfg config.RouterTLS) (string, serve.TLSFiles) {
	return "router.tls", serve.TLSFiles{Cert: string(cfg.Cert), Key: string(cfg.Key), CA: string(cfg.CA)}
}

// routerCredentials gives what secures the connections to routers, nil for plaintext.
func routerCredentials(cfg config.RouterTLS, identities *serve.Identities) (credentials.TransportCredentials, error) {
	if cfg.CA == "" {
		return nil, nil //nolint:nilnil // Both nil is what the uplink takes for plaintext.
	}
	identity, err := identities.Load(routerTLS(cfg))
	if err != nil {
		return nil, err
	}
	return identity.ClientCredentials(tls.VersionTLS13, cfg.Name), nil
}

// Check tells whether the files that a validated configuration names can be used. It starts nothing.
func Check(cfg config.Config) error {
	return errors.Join(serve.CheckTLS(routerTLS(cfg.Router.TLS)), serve.CheckTLS(httpTLS(cfg.HTTP.TLS)))
}
