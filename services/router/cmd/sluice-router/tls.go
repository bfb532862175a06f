package main

import (
	"crypto/tls"

	"google.golang.org/grpc/credentials"

	"github.com/sluice-dev/sluice/pkg/serve"
	"github.com/sluice-dev/sluice/services/router/internal/config"
)

// listenerCredentials gives what secures the connections from edges, nil for plaintext.
func listenerCredentials(c config.TLS, identities *serve.Identities) (credentials.TransportCredentials, error) {
	if c.Cert == "" {
		return nil, nil //nolint:nilnil // Both nil is what gRPC takes for plaintext.
	}
	identity, err := identities.Load("tls", serve.TLSFiles{Cert: string(c.Cert), Key: string(c.Key), CA: string(c.ClientCA), CAKey: "tls.client_ca"})
	if err != nil {
		return nil, err
	}
	return identity.ServerCredentials(c.ClientNames...), nil
}

// serverIdentity gives what secures the connections to model servers, nil when nothing is said about it. Without authorities of their own the system's sign the servers'
// certificates. key is that of the files.
func serverIdentity(key string, c config.ServerTLS, identities *serve.Identities) (*serve.Identity, error) {
	if c == (config.ServerTLS{}) {
		return nil, nil //nolint:nilnil // Both nil is what the drivers take for their defaults.
	}
	return identities.Load(key, serve.TLSFiles{Cert: string(c.Cert), Key: string(c.Key), CA: string(c.CA)})
}

// leastServerTLS is the oldest version that is spoken with model servers, not all of which speak the newest.
const leastServerTLS = tls.VersionTLS12
