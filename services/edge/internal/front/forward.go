package front

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-dev/sluice/services/edge/internal/cluster"
)

// Where several edges stand behind one address, a request about a session may come to one that does not have it. The session's id and its WHIP resource begin with the name of the
// edge that has it, so the request is handed on: once, only to a member of the cluster, and after the client has shown its token and origin here.

const (
	// forwardedHeader marks a request that an edge hands on, with that edge's name. It is never handed on again.
	forwardedHeader = "Sluice-Forwarded"
	// findTimeout bounds the search for an edge's address, connectTimeout the connection to it.
	findTimeout    = 2 * time.Second
	connectTimeout = 3 * time.Second
	// forwardTimeout bounds what is no stream of events: the other edge's own answer and the way to it.
	forwardTimeout = answerTimeout + findTimeout + connectTimeout
	// silenceTimeout is how long another edge may say nothing, which sends a comment every 15 s.
	silenceTimeout = commentEvery + 10*time.Second
	// nameEnd stands between an edge's name and the word that is random.
	nameEnd = "-"
)

// Cluster knows the other edges; *cluster.Cluster is one. It is safe for concurrent use.
type Cluster interface {
	// Name is this edge's own.
	Name() string
	// Find gives the base address of another edge, or cluster.ErrNotAMember. Another error says that it could not be found out.
	Find(ctx context.Context, name string) (*url.URL, error)
}

// forwarder hands requests on. A nil one has nobody to hand them to.
type forwarder struct {
	cluster   Cluster
	transport *http.Transport
	handed    *prometheus.CounterVec
}

// newForwarder makes a forwarder. secure gives the TLS configuration of a connection to another edge, nil where they speak plaintext or what the system trusts is enough.
func newForwarder(members Cluster, secure func() (*tls.Config, error)) *forwarder {
	f := &forwarder{cluster: members, handed: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_edge_http_forwarded_total", Help: "Requests about sessions of other edges: answered by them, refused because there is no such edge, or failed because it did not answer.",
	}, []string{"route", "result"})}
	f.transport = &http.Transport{
		DialContext: dialMember, TLSHandshakeTimeout: connectTimeout, ResponseHeaderTimeout: forwardTimeout,
		// Such requests are few, and what was an edge's address may be another pod's by the next one.
		DisableKeepAlives: true, DisableCompression: true,
	}
	if secure != nil {
		f.transport.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialSecure(ctx, network, address, secure)
		}
	}
	return f
}

// owner gives the name of the edge that a session's public id or WHIP resource belongs to; empty where it holds none.
func owner(word string) string { return word[:max(0, strings.LastIndex(word, nameEnd))] }

// elsewhere tells whether a word names another edge.
func (f *forwarder) elsewhere(word string) bool {
	if f == nil {
		return false
	}
	edge := owner(word)
	return edge != "" && edge != f.cluster.Name()
}

// named puts this edge's name before a session's secret, where it has one.
func (f *forwarder) named(secret string) string {
	if f == nil {
		return secret
	}
	return f.cluster.Name() + nameEnd + secret
}

// unnamed takes it off again.
func (f *forwarder) unnamed(word string) string {
	if f == nil {
		return word
	}
	return strings.TrimPrefix(word, f.cluster.Name()+nameEnd)
}

// forward hands a request on to the edge that word names, and its answer back.
func (t route) forward(w http.ResponseWriter, r *http.Request, word string) error {
	f := t.front
	release, err := f.admit()
	if err != nil {
		return err
	}
	defer release()
	result := func(name string) { f.forwarder.handed.WithLabelValues(t.pattern, name).Inc() }
	target, err := f.forwarder.find(r, word)
	if err == nil {
		err = f.forwarder.relay(w, r, target, func() { result("answered") })
	}
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, cluster.ErrNotAMember):
		result("refused")
		return refuse(http.StatusNotFound, codeSessionNotFound, "no such session; it may have ended")
	case errors.As(err, &tooLarge):
		result("refused")
		return refuse(http.StatusRequestEntityTooLarge, codeBodyTooLarge, "the body has at most %d bytes", maxOffer)
	case r.Context().Err() != nil:
		result("refused")
		return refuse(http.StatusRequestTimeout, codeRequestTimeout, "the client left before the edge that has this session had answered")
	}
	result("failed")
	f.cfg.Logger.Warn("another edge does not answer", "route", t.pattern, "error", err)
	return refuse(http.StatusBadGateway, codeEdgeUnreachable, "the edge that has this session does not answer; start another session if it stays so")
}

// find gives the address of the edge that word names. A request that was handed on already is for nobody else, so that none goes round in circles.
func (f *forwarder) find(r *http.Request, word string) (*url.URL, error) {
	if r.Header.Get(forwardedHeader) != "" {
		return nil, cluster.ErrNotAMember
	}
	ctx, cancel := context.WithTimeout(r.Context(), findTimeout)
	defer cancel()
	return f.cluster.Find(ctx, owner(word))
}

// relay makes the request to the other edge and copies its answer as it comes, of which answered is told first. It returns an error only where nothing has been answered yet.
func (f *forwarder) relay(w http.ResponseWriter, r *http.Request, target *url.URL, answered func()) (failure error) {
	control := http.NewResponseController(w)
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		if r.ContentLength == 0 {
			// It is read, and its deadline would end a stream of events. Of one with a body, which nobody wants, net/http reads that before it writes the answer.
			if err := control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
				return err
			}
		}
		r = r.WithContext(r.Context())
		r.Body, r.ContentLength = http.NoBody, 0
	} else {
		ctx, cancel := context.WithTimeout(r.Context(), forwardTimeout)
		defer cancel()
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(w, r.Body, maxOffer)
	}
	proxy := httputil.ReverseProxy{
		Transport:     f.transport,
		FlushInterval: -1, // events go on as they come
		Rewrite:       func(p *httputil.ProxyRequest) { f.rewrite(p, target) },
		ErrorLog:      slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), // of clients that have left
		ModifyResponse: func(response *http.Response) error {
			answered()
			for name := range w.Header() { // what this edge has said of itself and of the client's origin
				response.Header.Del(name)
			}
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failure = err },
	}
	proxy.ServeHTTP(&deadlineWriter{ResponseWriter: w, control: control}, r)
	_ = takeUntil(control, time.Now().Add(eventTimeout)) // for the answer's end, which net/http writes; a client that is gone needs none
	return failure
}

// rewrite makes the request that the other edge gets. The host stays the client's: the other edge has the same address to the outside. The origin has been looked at here, and it is
// for this edge to tell the client that it may send the body.
func (f *forwarder) rewrite(p *httputil.ProxyRequest, target *url.URL) {
	p.SetURL(target)
	p.Out.Host = p.In.Host
	for _, name := range []string{"Origin", "Cookie", "Upgrade", "Connection", "Expect"} {
		p.Out.Header.Del(name)
	}
	p.Out.Header.Set(forwardedHeader, f.cluster.Name())
}

// deadlineWriter gives up on a client that takes nothing for a while, however long the answer is, and however long it waits for the other edge. ReverseProxy flushes after each Write,
// and never does both at a time.
type deadlineWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (d *deadlineWriter) Write(p []byte) (int, error) {
	if err := takeUntil(d.control, time.Now().Add(eventTimeout)); err != nil {
		return 0, err
	}
	return d.ResponseWriter.Write(p)
}

// FlushError is what http.ResponseController calls.
func (d *deadlineWriter) FlushError() error {
	if err := takeUntil(d.control, time.Now().Add(eventTimeout)); err != nil {
		return err
	}
	if err := d.control.Flush(); err != nil {
		return err
	}
	return takeUntil(d.control, time.Time{})
}

// Unwrap gives http.ResponseController the writer below.
func (d *deadlineWriter) Unwrap() http.ResponseWriter { return d.ResponseWriter }

// memberConn is a connection to another edge, which counts as gone when it says nothing for a while.
type memberConn struct{ net.Conn }

func (m memberConn) Read(p []byte) (int, error) {
	if err := m.SetReadDeadline(time.Now().Add(silenceTimeout)); err != nil {
		return 0, err
	}
	return m.Conn.Read(p)
}

func dialMember(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return memberConn{conn}, nil
}

func dialSecure(ctx context.Context, network, address string, secure func() (*tls.Config, error)) (net.Conn, error) {
	cfg, err := secure()
	if err != nil {
		return nil, err
	}
	conn, err := dialMember(ctx, network, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	wrapped := tls.Client(conn, cfg)
	if err := wrapped.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return wrapped, nil
}
