package front

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"github.com/sluice-dev/sluice/pkg/serve"
)

// What a client may take of the edge's time and memory before its request is understood.
const (
	headerTimeout = 5 * time.Second
	// readTimeout runs from the first byte of a request to the last of its body.
	readTimeout = 10 * time.Second
	// writeTimeout runs from the end of the headers to the last byte of the answer. Streams of events set their own.
	writeTimeout = 15 * time.Second
	idleTimeout  = 60 * time.Second
	// maxHeader is 16 KiB less the 4 KiB that net/http adds to what it is told.
	maxHeader  = 12 << 10
	maxStreams = 100
	// maxConnections is the largest number of TCP connections at a time. More wait in the kernel's queue.
	maxConnections = 4096
	// stopTimeout bounds the end of what is under way when the edge stops.
	stopTimeout = 5 * time.Second
)

// Serve answers requests on listener, with TLS when secure is not nil, until ctx ends. Then it ends what is under way, bounded by a few
// seconds, and returns nil; it returns an error when the listener fails. It closes the listener.
func (f *Front) Serve(ctx context.Context, listener net.Listener, secure *tls.Config) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	listener = netutil.LimitListener(listener, maxConnections)
	if secure != nil {
		listener = tls.NewListener(listener, secure)
	}
	err := serve.HTTP(ctx, f.server(ctx), listener, stopTimeout)
	stop() // ends the WebSockets too where the listener failed
	f.sockets.Wait()
	return err
}

// server gives the HTTP server with its limits. Its requests, streams among them, end with ctx.
func (f *Front) server(ctx context.Context) *http.Server {
	return &http.Server{
		Handler:           f,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          slog.NewLogLogger(f.cfg.Logger.Handler(), slog.LevelDebug), // strangers' broken handshakes, mostly
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
}
