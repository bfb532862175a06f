package front

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/edge/internal/downlink"
)

const (
	// socketProtocol is the WebSocket subprotocol of what this file speaks: the same messages as on a data channel of that protocol.
	socketProtocol = "sluice.v1+json"
	// maxMessage is the size of the largest message of a client in bytes: an offer of 64 KiB, escaped as JSON.
	maxMessage = 80 << 10
	pingEvery  = 15 * time.Second
	// sendTimeout bounds the sending of one message, and of a ping with its pong.
	sendTimeout = 10 * time.Second
	// offerTimeout is how long a client may take to its first offer; a visitor may be looking at the camera's permission meanwhile.
	offerTimeout = 60 * time.Second
	// outgoing is how many of the edge's own messages may wait for a socket. A client that lets more of them wait is cut off.
	outgoing = 64
	// A client may send messageBurst messages at once and messageRate a second. A bad message costs as much as badMessageCost good ones.
	messageRate    = 20
	messageBurst   = 200
	badMessageCost = 10
)

// socket is one client's WebSocket. Its session lives and dies with it.
type socket struct {
	front   *Front
	conn    *websocket.Conn
	id      string // of the session, promised in the welcome
	models  []string
	share   media.Share
	budget  *rate.Limiter
	out     chan []byte // the edge's own messages, in order; results go by their own way
	trickle trickle
	offered chan struct{} // closed when the session has started
	relays  sync.WaitGroup
	ending  sync.Once
	// session is nil before the first offer was taken. Only the reader uses it.
	session Session
}

// socket answers GET /ws.
func (f *Front) socket(w http.ResponseWriter, r *http.Request, who principal) error {
	names, err := modelNames(r.URL.Query())
	if err != nil {
		return err
	}
	if err := checkUpgrade(w.Header(), r); err != nil {
		return err
	}
	release, err := f.admit()
	if err != nil {
		return err
	}
	defer release()
	f.sockets.Add(1)
	defer f.sockets.Done()
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // the origin has been compared exactly, which the library would not do
		Subprotocols:       offeredProtocols(r),
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return nil // Accept has answered
	}
	conn.SetReadLimit(maxMessage)
	s := &socket{
		front: f, conn: conn, id: f.sessions.NewID(), models: names, share: f.shares[who], budget: rate.NewLimiter(messageRate, messageBurst),
		out: make(chan []byte, outgoing), offered: make(chan struct{}),
	}
	s.serve(r.Context())
	return nil
}

// checkUpgrade refuses what is no WebSocket handshake (RFC 6455 section 4.2.1) with a problem; the library would answer with bare text.
func checkUpgrade(h http.Header, r *http.Request) error {
	key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key"))
	switch {
	case !r.ProtoAtLeast(1, 1) || r.ProtoMajor > 1 || !hasToken(r.Header, "Connection", "upgrade") || !hasToken(r.Header, "Upgrade", "websocket"):
		h.Set("Connection", "Upgrade")
		h.Set("Upgrade", "websocket")
		return refuse(http.StatusUpgradeRequired, codeUpgradeRequired, "this path speaks WebSocket (RFC 6455) over HTTP/1.1 only")
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		h.Set("Sec-WebSocket-Version", "13")
		return refuse(http.StatusUpgradeRequired, codeUpgradeRequired, "only version 13 of WebSocket is spoken")
	case err != nil || len(key) != 16 || len(r.Header.Values("Sec-WebSocket-Key")) != 1:
		return refuse(http.StatusBadRequest, codeInvalidRequest, "Sec-WebSocket-Key must be 16 bytes in base64")
	}
	return nil
}

func hasToken(h http.Header, name, token string) bool {
	for _, line := range h.Values(name) {
		for part := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// offeredProtocols says which subprotocols may be chosen. A browser gives up when none of those it offered is chosen, so a client that
// offers nothing but its token gets that back.
func offeredProtocols(r *http.Request) []string {
	offered := subprotocols(r)
	if len(offered) == 1 && strings.HasPrefix(offered[0], bearerProtocol) {
		return offered
	}
	return []string{socketProtocol}
}

// serve runs the socket to its end. All goroutines but the caller's are started and joined here and in start.
func (s *socket) serve(request context.Context) {
	// The library cuts a connection whose context ends, without a word. The socket's own context outlives the request's, so that
	// supervise can say goodbye when the edge stops.
	ctx, cancel := context.WithCancel(context.WithoutCancel(request))
	var own sync.WaitGroup
	own.Go(func() { s.write(ctx) })
	own.Go(func() { s.supervise(ctx, request.Done()) })
	s.send(s.welcome())
	why := s.read(ctx)
	if s.session != nil {
		s.session.Close(why) // ends the sink, and so the relay, after the summary
	}
	s.relays.Wait()
	s.end(websocket.StatusNormalClosure, "the session ended")
	cancel()
	own.Wait()
	_ = s.conn.CloseNow() // joins the library's own goroutine; the close frame has been sent
}

// welcome is the first message: what the client needs to make its offer.
func (s *socket) welcome() *sluicev1.ServerMessage {
	welcome := &sluicev1.Welcome{Session: &s.id, Version: &s.front.cfg.Version, Protocol: proto.Uint32(protocolEdition)}
	for _, server := range s.front.iceServers(s.id, time.Now()) {
		entry := &sluicev1.IceServer{Urls: server.URLs}
		if server.Username != "" {
			entry.Username, entry.Credential = &server.Username, &server.Credential
		}
		welcome.IceServers = append(welcome.IceServers, entry)
	}
	return &sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Welcome{Welcome: welcome}}
}

// read takes the client's messages until the socket or the session ends, and says which for the log.
func (s *socket) read(ctx context.Context) (why string) {
	for {
		kind, data, err := s.conn.Read(ctx)
		switch {
		case err != nil:
			return "its WebSocket closed"
		case kind != websocket.MessageText:
			s.end(websocket.StatusUnsupportedData, "messages are text")
			return "a binary message on its WebSocket"
		}
		message, err := parseMessage(data)
		if errors.Is(err, errNotUTF8) {
			s.end(websocket.StatusInvalidFramePayloadData, "text must be UTF-8")
			return "a broken message on its WebSocket"
		}
		cost := 1
		if err != nil {
			cost = badMessageCost
		}
		if !s.budget.AllowN(time.Now(), cost) {
			s.end(websocket.StatusPolicyViolation, "too many messages")
			return "too many messages on its WebSocket"
		}
		if err == nil && message.GetBye() != nil {
			return "the client said bye"
		}
		if err == nil {
			err = s.handle(ctx, message)
		}
		if err != nil {
			s.complain(err)
		}
	}
}

// write sends the edge's own messages.
func (s *socket) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case data := <-s.out:
			if s.put(ctx, data) != nil {
				return // the reader sees the broken connection too
			}
		}
	}
}

// supervise keeps the connection alive, and ends it when the client makes no offer or the edge stops.
func (s *socket) supervise(ctx context.Context, stopping <-chan struct{}) {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	late := time.NewTimer(offerTimeout)
	defer late.Stop()
	offered := s.offered
	for {
		select {
		case <-ctx.Done():
			return
		case <-stopping:
			s.end(websocket.StatusGoingAway, "the edge stops")
			return
		case <-offered:
			late.Stop()
			offered = nil
		case <-late.C:
			s.end(websocket.StatusPolicyViolation, "no offer in time")
			return
		case <-ping.C:
			bound, cancel := context.WithTimeout(ctx, sendTimeout)
			err := s.conn.Ping(bound)
			cancel()
			if err != nil && ctx.Err() == nil {
				_ = s.conn.CloseNow() // the client is gone: nobody to say goodbye to
				return
			}
		}
	}
}

// relay sends the session's messages until the session ends.
func (s *socket) relay(ctx context.Context, sink *downlink.Sink) {
	defer sink.Close()
	for {
		message, err := sink.Next(ctx)
		if err != nil {
			s.end(websocket.StatusNormalClosure, "the session ended")
			return
		}
		if s.put(ctx, message.JSON) != nil {
			_ = s.conn.CloseNow()
			return
		}
		message.Delivered("WebSocket")
	}
}

// put writes one message to the connection.
func (s *socket) put(ctx context.Context, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	return s.conn.Write(ctx, websocket.MessageText, data)
}

// send queues one of the edge's own messages. It never blocks.
func (s *socket) send(message proto.Message) {
	data, err := wire.JSON(message)
	if err != nil {
		s.front.cfg.Logger.Error("a message to a WebSocket cannot be written as JSON", "session", s.id, "error", err)
		return
	}
	select {
	case s.out <- data:
	default:
		s.front.cfg.Logger.Info("a WebSocket takes nothing; it is cut off", "session", s.id)
		_ = s.conn.CloseNow()
	}
}

// complain tells the client what was wrong with its last message.
func (s *socket) complain(err error) {
	problem, known := asProblem(err)
	if !known {
		s.front.cfg.Logger.Error("WebSocket message failed", "session", s.id, "error", err)
	}
	code := string(problem.Code)
	s.send(&sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Problem{Problem: &sluicev1.Problem{Code: &code, Detail: &problem.Detail}}})
}

// end closes the socket with a status, once; later calls do nothing. It waits a few seconds at most for the client to close too.
func (s *socket) end(status websocket.StatusCode, reason string) {
	s.ending.Do(func() { _ = s.conn.Close(status, reason) })
}
