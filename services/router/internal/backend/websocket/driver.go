package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"reflect"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

// Config says where a model is served.
type Config struct {
	// URL is the server's address, ws or wss, with the path and the query that it wants.
	URL string
	// Model is the model's name on the server.
	Model string
	// Described is what the server takes and gives; without outputs the server is asked.
	Described backend.Description
	// TLS gives what secures a new connection to wss. Nil, and what gives nil, trust the system's authorities.
	TLS func() *tls.Config
	// Token gives the bearer token for each handshake; nil sends none, and without one that is not empty nothing is asked.
	Token func() (string, error)
	// MaxReply bounds an answer whose size the model does not declare, in bytes; 0 means 64 MiB.
	MaxReply int
}

const defaultMaxReply = 64 << 20

// Driver runs one model on one server. See [backend.Driver].
type Driver struct {
	config  Config
	target  string
	dialTCP func(ctx context.Context, network, address string) (net.Conn, error)
	spaces  sync.Pool // of *message
	stop    context.CancelFunc
	stopped sync.WaitGroup

	gate backend.Gate

	mu   sync.Mutex
	conn *connection // nil while there is none
	err  error       // why there is none
	// settled is closed when the first attempt to connect has ended.
	settled chan struct{}
	// given is the description that was handed out last; nil when none was, or when it is out of date.
	given *backend.Description
}

// Open makes a driver. It connects in the background, so a server that is away is no error here.
func Open(config Config) (*Driver, error) { return open(config, (&net.Dialer{}).DialContext) }

func open(config Config, dialTCP func(ctx context.Context, network, address string) (net.Conn, error)) (*Driver, error) {
	address, err := CheckURL(config.URL)
	if err != nil {
		return nil, err
	}
	if config.Model == "" {
		return nil, errors.New("a websocket backend needs a model")
	}
	if config.MaxReply < 0 {
		return nil, fmt.Errorf("a largest answer of %d bytes: must not be negative", config.MaxReply)
	}
	if config.MaxReply == 0 {
		config.MaxReply = defaultMaxReply
	}
	address.RawQuery = "" // it may hold a secret
	d := &Driver{config: config, target: address.String(), dialTCP: dialTCP, settled: make(chan struct{})}
	d.spaces.New = func() any { return &message{} }
	ctx, stop := context.WithCancel(context.Background()) // Close ends it
	d.stop = stop
	d.stopped.Go(func() { d.run(ctx) })
	return d, nil
}

// CheckURL tells what is wrong with the address of a server.
func CheckURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("is no address: write wss://HOST/PATH") // what it is may hold a secret
	}
	shown := *u
	shown.RawQuery = "" // it may hold a secret, as a password may be one
	switch {
	case u.Scheme != "ws" && u.Scheme != "wss", u.Hostname() == "":
		return nil, fmt.Errorf("%q is no address of a WebSocket: write ws://HOST:PORT/PATH or wss://HOST/PATH", shown.Redacted())
	case u.User != nil:
		return nil, fmt.Errorf("%q holds a user: authorise by token or client certificate", shown.Redacted())
	case u.Fragment != "":
		return nil, fmt.Errorf("%q has a fragment, which never reaches a server: leave it out", shown.Redacted())
	}
	return u, nil
}

// Target gives the server's address, without the query.
func (d *Driver) Target() string { return d.target }

// Ready returns nil when the server is connected and has described the model, which it is asked for once a connection, unless the configuration does. It fails once when
// the description is another than before.
func (d *Driver) Ready(ctx context.Context) error {
	if err := d.gate.Enter(); err != nil {
		return err
	}
	defer d.gate.Leave()
	described, err := d.describe(ctx, false)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.given != nil && !reflect.DeepEqual(*d.given, described) {
		d.given = nil
		return &backend.Error{Code: media.BackendUnavailable, Reason: "the server came back with another model"}
	}
	return nil
}

// Describe gives what the configuration or the server says. The server is asked again when it has told before.
func (d *Driver) Describe(ctx context.Context) (backend.Description, error) {
	if err := d.gate.Enter(); err != nil {
		return backend.Description{}, err
	}
	defer d.gate.Leave()
	described, err := d.describe(ctx, true)
	if err != nil {
		return backend.Description{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.given = &described
	return described, nil
}

func (d *Driver) describe(ctx context.Context, hand bool) (backend.Description, error) {
	conn, err := d.connected(ctx)
	if err != nil {
		return backend.Description{}, err
	}
	if len(d.config.Described.Outputs) > 0 {
		return d.config.Described, nil
	}
	return conn.describe(ctx, d.config.Model, hand)
}

// connected gives the connection, or says why there is none. It waits for the first attempt, so that a driver that was just opened is not refused.
func (d *Driver) connected(ctx context.Context) (*connection, error) {
	d.mu.Lock()
	settled := d.settled
	d.mu.Unlock()
	select {
	case <-settled:
	case <-ctx.Done():
		return nil, backend.ContextError(ctx)
	}
	d.mu.Lock()
	conn, err := d.conn, d.err
	d.mu.Unlock()
	if err == nil {
		err = conn.lost() // nobody may have noticed yet
	}
	return conn, err
}

// Infer sends one batch and waits for its answer.
func (d *Driver) Infer(ctx context.Context, batch backend.Request) (backend.Output, error) {
	if err := d.gate.Enter(); err != nil {
		return backend.Output{}, err
	}
	defer d.gate.Leave()
	if ctx.Err() != nil {
		return backend.Output{}, backend.ContextError(ctx)
	}
	conn, err := d.connected(ctx)
	if err != nil {
		return backend.Output{}, unsent(err)
	}
	header := newRequest(d.config.Model, batch)
	if deadline, ok := ctx.Deadline(); ok {
		header.Timeout = time.Until(deadline).Seconds()
	}
	r, err := conn.ask(ctx, limit(len(batch.Frames), batch.Outputs, d.config.MaxReply), func(id uint64) (websocket.MessageType, []byte, error) {
		header.ID = id
		head, err := header.encode()
		return websocket.MessageBinary, head, err
	}, batch.Inputs)
	if err != nil {
		return backend.Output{}, err
	}
	output, err := read(r.answer, batch)
	if err != nil {
		conn.free(r)
		return backend.Output{}, err
	}
	output.Release = func() { conn.free(r) }
	return output, nil
}

// unsent makes an error of the reason why there is no connection: whatever that is, the batch is in nobody's hands.
func unsent(err error) error {
	var why *backend.Error
	if !errors.As(err, &why) || why.Code == media.BackendTimeout {
		return err
	}
	clone := *why
	clone.Code = media.BackendUnavailable
	return &clone
}

// read makes an output of the answer to a batch.
func read(a *answer, batch backend.Request) (backend.Output, error) {
	broken := func(err error) error {
		return backend.Fail(media.BackendProtocol, "the answer breaks the protocol", err.Error())
	}
	if err := a.check(); err != nil {
		return backend.Output{}, broken(err)
	}
	if err := a.failure(); err != nil {
		return backend.Output{}, err
	}
	tensors, err := a.tensors(batch.Outputs, len(batch.Frames))
	if err != nil {
		return backend.Output{}, broken(err)
	}
	return backend.Output{Tensors: tensors, Compute: a.compute()}, nil
}

// Close closes the connection after the calls in progress.
func (d *Driver) Close() error {
	return d.gate.Close(func() error {
		d.stop()
		d.stopped.Wait()
		return nil
	})
}
