package websocket

import (
	"context"
	"net"

	"github.com/coder/websocket"

	"github.com/sluice-dev/sluice/services/router/internal/backend"
)

// OpenOver is Open over connections that dial makes.
func OpenOver(config Config, dial func(ctx context.Context, network, address string) (net.Conn, error)) (*Driver, error) {
	return open(config, dial)
}

// Read reads a message as the answer to a batch. id is its request's.
func Read(kind websocket.MessageType, message []byte, batch backend.Request) (id uint64, output backend.Output, err error) {
	a, err := parse(kind, message)
	if err != nil {
		return 0, backend.Output{}, err
	}
	output, err = read(a, batch)
	return a.ID, output, err
}

// Encode makes the first part of the message of a batch.
func Encode(id uint64, model string, batch backend.Request) ([]byte, error) {
	r := newRequest(model, batch)
	r.ID = id
	return r.encode()
}

// The bounds that tests look for.
const (
	MaxQueue       = maxQueue
	LeastPause     = leastPause
	MostPause      = mostPause
	PingEvery      = pingEvery
	PongTimeout    = pongTimeout
	GoodbyeTimeout = goodbyeTimeout
)
