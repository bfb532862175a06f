package serve

import (
	"context"
	"crypto/tls"
	"net"

	"google.golang.org/grpc/credentials"
)

// ServerCredentials gives what secures a gRPC server with the identity; see Server.
func (i *Identity) ServerCredentials(names ...string) credentials.TransportCredentials {
	return credentials.NewTLS(i.Server(tls.VersionTLS13, []string{"h2"}, names...))
}

// ClientCredentials gives what secures gRPC connections with the identity, whose files each new connection looks at; see Client.
func (i *Identity) ClientCredentials(version uint16, name string) credentials.TransportCredentials {
	return following{identity: i, version: version, name: name}
}

// following are credentials that are made anew for each handshake.
type following struct {
	identity *Identity
	version  uint16
	name     string
}

func (f following) now() credentials.TransportCredentials {
	return credentials.NewTLS(f.identity.Client(f.version, f.name))
}

func (f following) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return f.now().ClientHandshake(ctx, authority, conn)
}

// ServerHandshake is that of a client's credentials: it fails for want of a certificate, or as the files say.
func (f following) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return f.now().ServerHandshake(conn)
}

func (f following) Info() credentials.ProtocolInfo { return f.now().Info() }

func (f following) Clone() credentials.TransportCredentials { return f }

// OverrideServerName is deprecated in gRPC, which asks for it nevertheless.
func (f following) OverrideServerName(string) error { return nil }
