//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// messageClient is a session with one video track that sends nothing and one data channel without a protocol: what a page has that knows nothing of Sluice.
type messageClient struct {
	channel *webrtc.DataChannel
	// texts are the edge's messages on that channel.
	texts chan []byte
}

// offer makes an SDP offer with a video track of the media engine's codecs and, if onMessage is given, a data channel.
func offer(t *testing.T, engine *webrtc.MediaEngine, label string, onMessage func([]byte)) (*webrtc.PeerConnection, *webrtc.DataChannel, string) {
	t.Helper()
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(net.IP.IsLoopback)
	peer, err := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.GracefulClose() })
	if _, err := peer.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
		t.Fatal(err)
	}
	channel, err := peer.CreateDataChannel(label, nil)
	if err != nil {
		t.Fatal(err)
	}
	channel.OnMessage(func(m webrtc.DataChannelMessage) { onMessage(m.Data) })
	sdp, err := peer.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(peer)
	if err := peer.SetLocalDescription(sdp); err != nil {
		t.Fatal(err)
	}
	<-gathered
	return peer, channel, peer.LocalDescription().SDP
}

// defaultEngine has the codecs that browsers have.
func defaultEngine(t *testing.T) *webrtc.MediaEngine {
	t.Helper()
	engine := &webrtc.MediaEngine{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	return engine
}

// connectMessages connects a messageClient through WHIP.
func connectMessages(t *testing.T, s *stack.Stack) *messageClient {
	t.Helper()
	c := &messageClient{texts: make(chan []byte, 64)}
	peer, channel, sdp := offer(t, defaultEngine(t), "mlDataChannel", func(b []byte) { c.texts <- b })
	c.channel = channel
	opened := make(chan struct{})
	channel.OnOpen(func() { close(opened) })
	answered := post(t, s.HTTP+"/whip?model=faces", "application/sdp", sdp)
	if answered.status != http.StatusCreated {
		t.Fatalf("POST /whip: %d: %s", answered.status, answered.text)
	}
	if err := peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answered.text}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-opened:
	case <-time.After(20 * time.Second):
		t.Fatal("the data channel does not open")
	}
	return c
}

// send sends messages (several when the picture comes in chunks) and gives what the edge says became of the unit: the drop's reason, the error's code, or "result" with
// the number of detections.
func (c *messageClient) send(t *testing.T, messages ...[]byte) string {
	t.Helper()
	for _, m := range messages {
		if err := c.channel.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	for {
		select {
		case text := <-c.texts:
			var m struct {
				Outcome *struct {
					Result *struct{ Detections []json.RawMessage }
					Drop   *struct{ Reason string }
					Error  *struct{ Code string }
				}
			}
			if err := json.Unmarshal(text, &m); err != nil {
				t.Fatalf("%v in %s", err, text)
			}
			switch {
			case m.Outcome == nil:
				continue
			case m.Outcome.Drop != nil:
				return m.Outcome.Drop.Reason
			case m.Outcome.Error != nil:
				return m.Outcome.Error.Code
			default:
				return fmt.Sprintf("result %d", len(m.Outcome.Result.Detections))
			}
		case <-time.After(20 * time.Second):
			t.Fatal("no outcome within 20 s")
		}
	}
}

// answer is what the edge said to a request.
type answer struct {
	status int
	header http.Header
	text   string
}

func post(t *testing.T, url, contentType, body string) answer {
	t.Helper()
	client := &http.Client{Timeout: 20 * time.Second}
	response, err := client.Post(url, contentType, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{status: response.StatusCode, header: response.Header, text: string(text)}
}
