package app

import (
	"context"
	"encoding/json"
	"strings"
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

// socketClient is a client that trickles both ways over a WebSocket and sends pictures over a data channel.
type socketClient struct {
	t          *testing.T
	ctx        context.Context // the test's, with its time limit
	socket     *websocket.Conn
	connection *webrtc.PeerConnection
	channel    *webrtc.DataChannel
	opened     chan struct{}
}

func (r *rig) dial(ctx context.Context) *socketClient {
	r.t.Helper()
	socket, _, err := websocket.Dial(ctx, strings.Replace(r.base, "http", "ws", 1)+"/ws?model=faces", nil) //nolint:bodyclose // it is the socket's
	if err != nil {
		r.t.Fatal(err)
	}
	c := &socketClient{t: r.t, ctx: ctx, socket: socket, opened: make(chan struct{})}
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
			c.say(map[string]any{"candidate": map[string]any{"candidate": init.Candidate, "sdpMid": init.SDPMid}})
		}
	})
	return c
}

func (c *socketClient) hear() (m serverMessage) {
	c.t.Helper()
	_, data, err := c.socket.Read(c.ctx)
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil || m.Problem != nil {
		c.t.Fatalf("%v: %s", err, data)
	}
	return m
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

// negotiate offers, and takes the edge's candidates until it has no more.
func (c *socketClient) negotiate(options *webrtc.OfferOptions) {
	c.t.Helper()
	offer, err := c.connection.CreateOffer(options)
	if err != nil {
		c.t.Fatal(err)
	}
	c.say(map[string]any{"offer": map[string]string{"sdp": offer.SDP}}) // before the candidates, which come with the next line
	if err := c.connection.SetLocalDescription(offer); err != nil {
		c.t.Fatal(err)
	}
	answer := c.hear().Answer
	if answer == nil {
		c.t.Fatal("the edge does not answer")
	}
	if err := c.connection.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer.SDP}); err != nil {
		c.t.Fatal(err)
	}
	for {
		candidate := c.hear().Candidate
		if candidate == nil || candidate.Candidate == "" {
			return
		}
		if err := c.connection.AddICECandidate(*candidate); err != nil {
			c.t.Fatal(err)
		}
	}
}

// exchange sends a picture and expects its outcome.
func (c *socketClient) exchange(session string) {
	c.t.Helper()
	if err := c.channel.Send(picture(c.t)); err != nil {
		c.t.Fatal(err)
	}
	if o := c.hear().Outcome; o == nil || o.Session != session || o.Stream != "pictures" {
		c.t.Fatalf("the outcome is %+v", o)
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
	defer func() { _ = c.socket.CloseNow() }()
	id := c.hear().Welcome.Session
	c.negotiate(nil)
	select {
	case <-c.opened:
	case <-ctx.Done():
		t.Fatal("the data channel does not open")
	}
	c.exchange(id)
	c.negotiate(&webrtc.OfferOptions{ICERestart: true})
	c.exchange(id)
	c.say(map[string]any{"bye": map[string]any{}})
	if s := c.hear().Summary; s == nil || s.Session != id {
		t.Errorf("the last message is no summary of %s", id)
	}
	if _, _, err := c.socket.Read(ctx); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("closed with %v", err)
	}
	if err := c.connection.Close(); err != nil {
		t.Error(err)
	}
	r.stop()
}
