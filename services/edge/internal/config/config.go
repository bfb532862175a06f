// Package config is the edge's configuration: what edge.yaml holds, its defaults and its rules. deploy/config/edge.yaml documents every key.
package config

import (
	"log/slog"
	"strings"
	"time"

	"github.com/sluice-dev/sluice/pkg/config"
	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

// Config is edge.yaml.
type Config struct {
	HTTP    HTTP            `yaml:"http"`
	ICE     ICE             `yaml:"ice"`
	Router  Router          `yaml:"router"`
	Cluster Cluster         `yaml:"cluster"`
	Limits  Limits          `yaml:"limits"`
	Decoder Decoder         `yaml:"decoder"`
	GRPC    GRPC            `yaml:"grpc"`
	Admin   Admin           `yaml:"admin"`
	Log     Log             `yaml:"log"`
	Trace   config.Trace    `yaml:"trace"`
	Drain   config.Duration `yaml:"drain" help:"how long clients may go on after SIGTERM"`
}

// HTTP is the public side.
type HTTP struct {
	Listen    string   `yaml:"listen" help:"address of the page, WHIP, WebSocket and results"`
	PublicURL string   `yaml:"public_url" help:"the edge's address as clients see it; empty: as each request says"`
	TLS       KeyPair  `yaml:"tls"`
	Origins   []string `yaml:"origins" help:"origins, besides the edge's own, whose pages may use the edge"`
	Tokens    []Secret `yaml:"tokens" help:"bearer tokens, any of which opens the edge; none: open to all"`
	Clients   []Client `yaml:"clients"`
	// StrictETag holds WHIP clients to RFC 9725 section 4.3.1. Many of them send no If-Match.
	StrictETag bool `yaml:"strict_etag" help:"refuse a WHIP PATCH without the If-Match that RFC 9725 asks for"`
}

// Client is who shows a token of their own, which opens the edge as any of HTTP.Tokens does: their sessions have a share of their own of models that have too much to do.
type Client struct {
	Token  Secret `yaml:"token"`
	Weight int    `yaml:"weight"` // 0 means 1
	Class  int    `yaml:"class"`
}

// KeyPair names the PEM files of a certificate and its key: both or none.
type KeyPair struct {
	Cert config.Path `yaml:"cert" help:"certificate chain, PEM"`
	Key  config.Path `yaml:"key" help:"private key of the certificate, PEM"`
}

// ICE says how media reaches the edge.
type ICE struct {
	UDP       string      `yaml:"udp" help:"address of the one UDP port of all sessions"`
	TCP       string      `yaml:"tcp" help:"address of the one ICE-TCP port of all sessions; empty: no TCP"`
	Addresses []string    `yaml:"addresses" help:"IP addresses to tell clients instead of the host's own (behind 1:1 NAT)"`
	Loopback  bool        `yaml:"loopback" help:"also tell clients the loopback address"`
	Servers   []ICEServer `yaml:"servers"`
}

// ICEServer is a STUN or TURN server that clients are told to use. TURN needs credentials: the same for everybody, or a secret that the edge shares
// with the server (coturn's static-auth-secret), with which each client gets its own for a while.
type ICEServer struct {
	URLs       []string        `yaml:"urls"`
	Username   string          `yaml:"username"`
	Credential Secret          `yaml:"credential"`
	Secret     Secret          `yaml:"secret"`
	TTL        config.Duration `yaml:"ttl"`
}

// TURNLife is how long a client's own credentials are good for where ICEServer.TTL does not say.
const TURNLife = 24 * time.Hour

// Router says where the routers are.
type Router struct {
	Target string    `yaml:"target" help:"gRPC target of the routers"`
	TLS    RouterTLS `yaml:"tls"`
}

// RouterTLS secures the connections to routers. They are plaintext without a CA, and mutually authenticated with a certificate.
type RouterTLS struct {
	CA   config.Path `yaml:"ca" help:"certificates that sign the routers', PEM; empty: plaintext"`
	Cert config.Path `yaml:"cert" help:"the edge's own certificate chain, PEM"`
	Key  config.Path `yaml:"key" help:"private key of the certificate, PEM"`
	Name string      `yaml:"name" help:"what the routers' certificates are for; empty: the target's host"`
}

// Cluster says which other edges stand behind the same address. Each finds by a session's id which of them has it. Without a name the edge is alone.
type Cluster struct {
	Name    string            `yaml:"name" help:"this edge's name among several, in Kubernetes its pod's; empty: the edge is alone"`
	Domain  string            `yaml:"domain" help:"DNS name of all edges, each of which is NAME.DOMAIN: a headless service's"`
	Port    int               `yaml:"port" help:"HTTP port of the edges of the domain"`
	Members map[string]string `yaml:"members"`
}

// Limits bound what clients may take.
type Limits struct {
	Sessions      int            `yaml:"sessions" help:"sessions at a time"`
	Bitrate       config.Bitrate `yaml:"bitrate" help:"of one session"`
	Pixels        config.Pixels  `yaml:"pixels" help:"largest picture that is decoded"`
	Message       config.Bytes   `yaml:"message" help:"largest data channel message"`
	Channels      int            `yaml:"channels" help:"data channels of one session"`
	DecoderMemory config.Bytes   `yaml:"decoder_memory" help:"memory of one session's decoder process"`
}

// Decoder says how untrusted pictures are decoded.
type Decoder struct {
	Path    config.Program `yaml:"path" help:"the decoder program: a path, or a name looked for beside the edge and in PATH"`
	Sandbox ipc.Sandbox    `yaml:"sandbox" help:"required, best-effort or off"`
}

// GRPC is the side of inspection, health and reflection.
type GRPC struct {
	Listen string `yaml:"listen" help:"address of inspection, health and reflection"`
}

// Admin is the side of probes and metrics.
type Admin struct {
	Listen string `yaml:"listen" help:"address of /livez, /readyz and /metrics"`
	Pprof  bool   `yaml:"pprof" help:"also serve /debug/pprof/"`
}

// Log says what is logged and how.
type Log struct {
	Level  slog.Level `yaml:"level" help:"debug, info, warn or error"`
	Format string     `yaml:"format" help:"text or json"`
}

// Default gives the configuration that an empty file means.
func Default() Config {
	return Config{
		HTTP:    HTTP{Listen: ":8080"},
		ICE:     ICE{UDP: ":8189", TCP: ":8189"},
		Router:  Router{Target: "dns:///127.0.0.1:50051"},
		Cluster: Cluster{Port: 8080},
		Limits: Limits{
			Sessions: 200, Bitrate: 8e6, Pixels: config.Pixels{Width: 1920, Height: 1088}, Message: 4 << 20, Channels: 8, DecoderMemory: 256 << 20,
		},
		Decoder: Decoder{Path: "sluice-decoder", Sandbox: ipc.Required},
		GRPC:    GRPC{Listen: "127.0.0.1:50052"},
		Admin:   Admin{Listen: "127.0.0.1:8081"},
		Log:     Log{Level: slog.LevelInfo, Format: "text"},
		Trace:   config.Trace{Sample: config.DefaultSample},
		Drain:   config.Duration(20 * time.Second),
	}
}

// Secret is a text that is never shown: not in logs, not in help, not in dumps of the configuration.
type Secret string

// Reveal gives the text.
func (s Secret) Reveal() string { return string(s) }

// String implements fmt.Stringer.
func (s Secret) String() string { return strings.Repeat("*", min(len(s), 3)) }

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return s.String() }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
