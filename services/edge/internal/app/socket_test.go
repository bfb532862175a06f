package app

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/pion/webrtc/v4"
)

// serverMessage is what the test reads of a message on a WebSocket.
type serverMessage struct {
	Welcome   *struct{ Session string }
	Answer    *struct{ SDP string }
	Candidate *webrtc.ICECandidateInit
	Problem   *struct{ Code, Detail string }
	Outcome   *struct{ Session, Stream string }
	Summary   *struct{ Session string }
}

// socketClient is a client that trickles both ways over a WebSocket and sends pictures over a data channel. One goroutine reads: it does what
// answers and candidates ask, in their order, and hands on the rest.
type socketClient struct {
	t          *testing.T
	ctx        context.Context // the test's, with its time limit
	socket     *websocket.Conn
	connection *webrtc.PeerConnection
	channel    *webrtc.DataChannel
	offering   sync.Mutex // holds candidates back until their offer is on its way
	opened     chan struct{}
	answered   chan struct{}
	messages   chan serverMessage // closed when the socket is
	status     websocket.StatusCode
}

func (r *rig) dial(ctx context.Context) *socketClient {
	r.t.Helper()
	socket, _, err := websocket.Dial(ctx, strings.Replace(r.base, "http", "ws", 1)+"/ws?model=faces", nil) //nolint:bodyclose // it is the socket's
	if err != nil {
		r.t.Fatal(err)
	}
	c := &socketClient{t: r.t, ctx: ctx, socket: socket, opened: make(chan struct{}), answered: make(chan struct{}), messages: make(chan serverMessage)}
	if c.connection, err = webrtc.NewPeerConnection(webrtc.Configuration{}); err != nil {
		r.t.Fatal(err)
	}
	if c.channel, err = c.connection.CreateDataChannel("pictures", nil); err != nil {
		r.t.Fatal(err)
	}
	c.channel.OnOpen(func() { close(c.opened) })
	c.connection.OnICECandidate(func(candidate *webrtc.ICECandidate) {
		if candidate != nil {
			init := candidate.ToJSON()
			data, _ := json.Marshal(map[string]any{"candidate": map[string]any{"candidate": init.Candidate, "sdpMid": init.SDPMid}})
			c.offering.Lock()
			defer c.offering.Unlock()
			_ = c.socket.Write(ctx, websocket.MessageText, data) // one that comes after the end needs no answer
		}
	})
	go c.read()
	return c
}

// read ends with the socket, and the test waits for that in hear.
func (c *socketClient) read() {
	defer close(c.messages)
	for {
		var m serverMessage
		_, data, err := c.socket.Read(c.ctx)
		if c.status = websocket.CloseStatus(err); err != nil {
			return
		}
		if err := json.Unmarshal(data, &m); err != nil || m.Problem != nil {
			c.t.Errorf("%v: %s", err, data)
		}
		switch {
		case m.Answer != nil:
			err = c.connection.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: m.Answer.SDP})
			c.answered <- struct{}{}
		case m.Candidate != nil:
			err = c.connection.AddICECandidate(*m.Candidate)
		default:
			c.messages <- m
		}
		if err != nil {
			c.t.Error(err)
		}
	}
}

// hear gives the edge's next message that is no signalling; false when the socket is closed.
func (c *socketClient) hear() (serverMessage, bool) {
	c.t.Helper()
	select {
	case m, ok := <-c.messages:
		return m, ok
	case <-c.ctx.Done():
		c.t.Fatal("the edge says nothing")
		return serverMessage{}, false
	}
}

// await waits for something that another goroutine does.
func (c *socketClient) await(what string, done <-chan struct{}) {
	c.t.Helper()
	select {
	case <-done:
	case <-c.ctx.Done():
		c.t.Fatalf("not in time: %s", what)
	}
}

func (c *socketClient) say(message any) {
	data, err := json.Marshal(message)
	if err == nil {
		err = c.socket.Write(c.ctx, websocket.MessageText, data)
	}
	if err != nil {
		c.t.Error(err)
	}
}

// negotiate offers and takes the answer.
func (c *socketClient) negotiate(options *webrtc.OfferOptions) {
	c.t.Helper()
	offer, err := c.connection.CreateOffer(options)
	if err != nil {
		c.t.Fatal(err)
	}
	c.offering.Lock()
	err = c.connection.SetLocalDescription(offer)
	c.say(map[string]any{"offer": map[string]string{"sdp": offer.SDP}})
	c.offering.Unlock()
	if err != nil {
		c.t.Fatal(err)
	}
	c.await("the answer", c.answered)
}

// exchange sends a picture and expects its outcome.
func (c *socketClient) exchange(session string) {
	c.t.Helper()
	if err := c.channel.Send(picture(c.t)); err != nil {
		c.t.Fatal(err)
	}
	if m, _ := c.hear(); m.Outcome == nil || m.Outcome.Session != session || m.Outcome.Stream != "pictures" {
		c.t.Fatalf("got %+v, want an outcome of %s", m, session)
	}
}

// A client on a WebSocket gets its results there, restarts ICE, and ends with a summary.
func TestWebSocketThroughTheEdge(t *testing.T) {
	l := listen(t)
	startRouter(t, l)
	r := startEdge(t, testConfig(l.Addr().String()))
	r.eventually("ready", func() bool { return r.edge.ready() == nil })
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	c := r.dial(ctx)
	welcome, _ := c.hear()
	if welcome.Welcome == nil || welcome.Welcome.Session == "" {
		t.Fatalf("the first message is %+v", welcome)
	}
	id := welcome.Welcome.Session
	c.negotiate(nil)
	c.await("the data channel", c.opened)
	c.exchange(id)
	c.negotiate(&webrtc.OfferOptions{ICERestart: true})
	c.exchange(id)
	c.say(map[string]any{"bye": map[string]any{}})
	if m, _ := c.hear(); m.Summary == nil || m.Summary.Session != id {
		t.Errorf("the last message is %+v, not the summary of %s", m, id)
	}
	if m, more := c.hear(); more || c.status != websocket.StatusNormalClosure {
		t.Errorf("after the summary came %+v, and then the status %v", m, c.status)
	}
	if err := c.connection.Close(); err != nil {
		t.Error(err)
	}
	r.stop()
}
