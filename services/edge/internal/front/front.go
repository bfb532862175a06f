package front

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"github.com/pion/webrtc/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/downlink"
	"github.com/sluice-dev/sluice/services/edge/internal/sdpfrag"
	"github.com/sluice-dev/sluice/services/edge/web"
)

// Sessions starts and finds sessions. It is safe for concurrent use. Its errors are *Problem where a client can know the reason.
type Sessions interface {
	// NewID makes the public id of a session that may be created later. It costs nothing when none is.
	NewID() string
	// Create starts a session and returns it with the SDP answer, or with the edge's offer. ctx bounds the making of that, not the session.
	Create(ctx context.Context, offer Offer) (session Session, description string, err error)
	// BySecret finds a live session by its secret, in constant time.
	BySecret(secret string) (Session, bool)
	// ByID finds a session by its public id, for a while after its end too.
	ByID(id string) (Session, bool)
}

// Offer asks for a session.
type Offer struct {
	// ID is what NewID gave.
	ID string
	// SDP is the client's offer (RFC 8829), at most 64 KiB; empty where Media is not nil.
	SDP string
	// Media, when not nil, asks the edge to offer what is needed to take it.
	Media *Media
	// Models are the names wanted; empty means every model that fits a stream.
	Models []string
	// Share is what the client's sessions are due of a model that has too much to do.
	Share media.Share
	// Trickle, when not nil, receives the edge's candidates as they are found, and nil after the last one; the answer then does not wait
	// for them. It does not block. When it is nil the answer holds all candidates.
	Trickle func(*webrtc.ICECandidateInit)
}

// Media is what a client means to send: so many tracks of each kind.
type Media struct {
	Video, Audio int
}

// Session is one client's connection. It is safe for concurrent use.
type Session interface {
	// ID is public: it opens results, not control.
	ID() string
	// Secret controls the session: at least 128 random bits, made of characters that need no escaping in a URL.
	Secret() string
	// AddCandidate takes one of the client's ICE candidates; an empty one means that no more will come.
	AddCandidate(candidate webrtc.ICECandidateInit) error
	// ICESession names the ICE session that the connection is in; no other one has or had that name, which is made of letters and digits.
	ICESession() string
	// Trickle takes a fragment of the client's description: more candidates, or with new credentials an ICE restart. Only a restart has an answer:
	// the edge's whole description. After an error the session goes on as before.
	Trickle(ctx context.Context, fragment sdpfrag.Fragment) (answer string, err error)
	// Renegotiate takes another offer of the client. After an error the session goes on as before.
	Renegotiate(ctx context.Context, offer string) (answer string, err error)
	// Offer makes another offer of a session that the edge offers, for at least the media named, in another ICE session where restart is set.
	Offer(ctx context.Context, media Media, restart bool) (offer string, err error)
	// Accept takes the client's answer to the edge's offer.
	Accept(answer string) error
	// Subscribe opens a sink for the session's messages: those after the message with the given id that are still kept, or, after
	// downlink.Live, those from now on.
	Subscribe(after uint64) (*downlink.Sink, error)
	// Close ends the session and returns when its last message is in its sinks. The reason is for the log.
	Close(reason string)
}

// Catalog knows the models of the routers.
type Catalog interface {
	// Snapshot gives the models and their inputs. known is false until a router has told them once.
	Snapshot() (models []media.Model, inputs []media.Input, known bool)
}

// Config is what the front needs to know. All fields but the marked ones are required.
type Config struct {
	// PublicURL is the edge's address as clients see it, without a trailing slash. Empty: taken from each request's Host.
	PublicURL string
	// Origins are the origins, besides the edge's own, whose pages may use the edge. They are compared exactly. May be empty.
	Origins []string
	// Tokens are the bearer tokens, any of which opens the edge; so do those of Clients. Without any everybody may use it.
	Tokens []string
	// Clients are those whose sessions are due another share than others'. May be empty.
	Clients []Client
	// StrictETag refuses a PATCH without If-Match, and entity tags that are not written as RFC 9110 has them.
	StrictETag bool
	// ICEServers are told to clients. May be empty.
	ICEServers []ICEServer
	// Connections is the largest number of WebSockets and result streams at a time.
	Connections int
	// Version is told to clients.
	Version string
	// Cluster are the edges behind the same address, whose sessions' requests are handed on to them; nil for an edge alone.
	Cluster Cluster
	// ClusterTLS gives the configuration of a TLS connection to another edge; nil trusts what the system does.
	ClusterTLS func() (*tls.Config, error)
	Logger     *slog.Logger
	// Registry receives the front's metrics.
	Registry prometheus.Registerer
}

// Client is who shows a token of their own.
type Client struct {
	Token string
	Share media.Share
}

// Front answers the public HTTP requests. It is safe for concurrent use.
type Front struct {
	cfg      Config
	sessions Sessions
	catalog  Catalog
	tokens   []digest
	shares   map[principal]media.Share // of Clients
	origins  map[string]bool
	// bindingKey ties a WHIP resource to the token that made it; see resource.go. It lives as long as the process, as the sessions do.
	bindingKey  []byte
	connections chan struct{} // one element for each open WebSocket or result stream
	page        *page
	requests    *prometheus.CounterVec
	forwarder   *forwarder // nil for an edge alone
	mux         *http.ServeMux
	// sockets counts the handlers of WebSockets, which http.Server does not wait for.
	sockets sync.WaitGroup
}

// New makes a front. It fails when a metric is registered already or the page cannot be read.
func New(cfg Config, sessions Sessions, catalog Catalog) (*Front, error) {
	content, err := loadPage(web.FS())
	if err != nil {
		return nil, err
	}
	f := &Front{
		cfg: cfg, sessions: sessions, catalog: catalog, page: content,
		tokens: digests(cfg.Tokens), shares: make(map[principal]media.Share, len(cfg.Clients)), origins: make(map[string]bool, len(cfg.Origins)),
		bindingKey: make([]byte, 32), connections: make(chan struct{}, cfg.Connections),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_edge_http_requests_total", Help: "Answered HTTP requests.",
		}, []string{"route", "method", "status"}),
	}
	for _, client := range cfg.Clients {
		f.tokens = append(f.tokens, digests([]string{client.Token})...)
		f.shares[principal(client.Token)] = client.Share
	}
	for _, origin := range cfg.Origins {
		f.origins[origin] = true
	}
	if _, err := rand.Read(f.bindingKey); err != nil {
		return nil, fmt.Errorf("front: no randomness: %w", err)
	}
	if err := cfg.Registry.Register(f.requests); err != nil {
		return nil, fmt.Errorf("front: %w", err)
	}
	if cfg.Cluster != nil {
		f.forwarder = newForwarder(cfg.Cluster, cfg.ClusterTLS)
		if err := cfg.Registry.Register(f.forwarder.handed); err != nil {
			return nil, fmt.Errorf("front: %w", err)
		}
	}
	f.mux = f.routes()
	return f, nil
}

// routes lists all that the front serves.
func (f *Front) routes() *http.ServeMux {
	mux := http.NewServeMux()
	add := func(pattern string, r route) {
		r.front, r.pattern = f, pattern
		mux.Handle(pattern, r)
	}
	add("/whip", route{
		methods: methods{http.MethodPost: f.publish, http.MethodGet: f.nothing, http.MethodHead: f.nothing}, private: true, acceptPost: sdpType,
		describe: f.tellPublishers,
	})
	add("/whip/{secret}", route{methods: methods{
		http.MethodPatch: f.trickle, http.MethodDelete: f.unpublish, http.MethodGet: f.nothingOf, http.MethodHead: f.nothingOf,
	}, private: true, acceptPatch: sdpfrag.Type, about: "secret"})
	add("/ws", route{methods: methods{http.MethodGet: f.socket}, private: true})
	add("/sessions/{session}/results", route{methods: methods{http.MethodGet: f.results}, private: true, about: "session"})
	add("/models", route{methods: methods{http.MethodGet: f.models}, private: true})
	add("/", route{methods: methods{http.MethodGet: f.static, http.MethodHead: f.static}})
	return mux
}

// ServeHTTP implements http.Handler.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.mux.ServeHTTP(w, r) }

// admit takes a place among the open WebSockets and result streams. The caller gives it back by calling release.
func (f *Front) admit() (release func(), err error) {
	select {
	case f.connections <- struct{}{}:
		return func() { <-f.connections }, nil
	default:
		problem := refuse(http.StatusServiceUnavailable, codeTooManyConnections, "%d WebSockets and result streams are open, which is the limit", cap(f.connections))
		problem.RetryAfter = retryLater
		return nil, problem
	}
}
