package websocket

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

const (
	// dialTimeout bounds one attempt to connect, handshakes included.
	dialTimeout = 5 * time.Second
	// leastPause and mostPause are the waits between attempts: twice as long after each, a quarter more or less, and from the beginning again after a connection
	// that has lasted as long as the longest of them.
	leastPause = 200 * time.Millisecond
	mostPause  = 5 * time.Second
)

// run keeps the driver connected until ctx ends.
func (d *Driver) run(ctx context.Context) {
	pause := leastPause
	for {
		conn, err := d.dial(ctx)
		d.settle(conn, err)
		if err == nil {
			begun := time.Now()
			err = conn.serve(ctx)
			if time.Since(begun) >= mostPause {
				pause = leastPause
			}
			d.settle(nil, err)
		}
		jitter := 0.75 + rand.Float64()/2 //nolint:gosec // nothing secret
		wait := time.NewTimer(time.Duration(float64(pause) * jitter))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
		pause = min(2*pause, mostPause)
	}
}

// settle notes how an attempt or a connection ended.
func (d *Driver) settle(conn *connection, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conn, d.err = conn, err
	select {
	case <-d.settled:
	default:
		close(d.settled)
	}
}

// dial connects once.
func (d *Driver) dial(ctx context.Context) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	header := http.Header{}
	if d.config.Token != nil {
		token, err := d.config.Token()
		if err != nil {
			return nil, &backend.Error{Code: media.BackendUnavailable, Reason: "the token cannot be read", Err: err}
		}
		if token == "" {
			return nil, &backend.Error{Code: media.BackendUnavailable, Reason: "the token's file is empty"}
		}
		header.Set("Authorization", "Bearer "+token)
	}
	var below net.Conn
	// A transport of its own for each connection, which takes the connection along.
	transport := &http.Transport{
		TLSClientConfig: d.tls(), DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			conn, err = d.dialTCP(ctx, network, address)
			if err == nil {
				below = conn
			}
			return conn, err
		},
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	socket, response, err := websocket.Dial(ctx, d.config.URL, &websocket.DialOptions{ //nolint:bodyclose // it is the socket's
		HTTPClient: client, HTTPHeader: header, Subprotocols: []string{Subprotocol}, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, refusal(response, err)
	}
	if socket.Subprotocol() != Subprotocol {
		_ = socket.CloseNow()
		return nil, &backend.Error{Code: media.BackendProtocol, Reason: "the server did not choose the WebSocket subprotocol " + Subprotocol}
	}
	return newConnection(socket, func() { _ = below.Close() }, &d.spaces), nil
}

func (d *Driver) tls() *tls.Config {
	var settings *tls.Config
	if d.config.TLS != nil {
		settings = d.config.TLS().Clone()
	}
	if settings == nil {
		settings = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	settings.NextProtos = []string{"http/1.1"} // a WebSocket is no stream of HTTP/2
	return settings
}

// refusal makes an error of a failed attempt to connect. The server's words go into the log only.
func refusal(response *http.Response, err error) error {
	var untrusted *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	switch {
	case response == nil && (errors.As(err, &untrusted) || errors.As(err, &unknown)):
		return backend.Fail(media.BackendUnavailable, "the server's certificate is not trusted: give the authority that signed it as tls.ca", err.Error())
	case response == nil:
		return backend.Fail(media.BackendUnavailable, "the server cannot be reached", err.Error())
	case response.StatusCode == http.StatusSwitchingProtocols:
		return backend.Fail(media.BackendProtocol, "the server's handshake is not WebSocket's, or of another subprotocol than "+Subprotocol, err.Error())
	}
	code := media.BackendRejected
	if response.StatusCode >= http.StatusInternalServerError {
		code = media.BackendUnavailable
	}
	words, _ := io.ReadAll(response.Body) // the library has kept the first of them
	return backend.Fail(code, fmt.Sprintf("the server answers the handshake with status %d", response.StatusCode), string(words))
}

// describe gives what the server takes and gives. It is asked once, and again for each description that is handed out after the first: another model may have taken the place
// of the one that was described.
func (c *connection) describe(ctx context.Context, model string, hand bool) (backend.Description, error) {
	c.mu.Lock()
	known, stale := c.description, hand && c.handed
	c.handed = c.handed || hand && known != nil
	c.mu.Unlock()
	if known != nil && !stale {
		return *known, nil
	}
	r, err := c.ask(ctx, maxControl, func(id uint64) (websocket.MessageType, []byte, error) {
		text, err := json.Marshal(question{ID: id, Describe: model})
		return websocket.MessageText, text, err
	}, nil)
	if err != nil {
		return backend.Description{}, err
	}
	defer c.free(r)
	if err := r.answer.failure(); err != nil {
		return backend.Description{}, err
	}
	described, err := r.answer.description()
	if err != nil {
		return backend.Description{}, backend.Fail(media.BackendProtocol, "the model's description cannot be used", err.Error())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.description, c.handed = &described, hand
	return described, nil
}
