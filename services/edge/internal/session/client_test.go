package session

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// client is a browser's stand-in.
type client struct {
	t       *testing.T
	pc      *webrtc.PeerConnection
	session *Session
}

// connect makes a connection, after prepare has added what it is for, and waits until it stands.
func (r *rig) connect(prepare func(c *client), models ...string) *client {
	r.t.Helper()
	c := r.newClient(prepare)
	up := make(chan struct{})
	var once sync.Once
	c.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(up) })
		}
	})
	session, answer, err := r.manager.Create(r.t.Context(), Request{Offer: c.offer(), Models: models})
	if err != nil {
		r.t.Fatal(err)
	}
	c.session = session
	c.accept(answer)
	wait(r.t, up, "connection")
	return c
}

func (r *rig) newClient(prepare func(c *client)) *client {
	r.t.Helper()
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	c := r.newClientOn(settings, prepare)
	r.t.Cleanup(func() { _ = c.pc.GracefulClose() })
	return c
}

// newClientOn makes a client with settings of its own. It must be closed.
func (r *rig) newClientOn(settings webrtc.SettingEngine, prepare func(c *client)) *client {
	r.t.Helper()
	return r.newClientWith(settings, func(*webrtc.MediaEngine, *interceptor.Registry) error { return nil }, prepare)
}

// newClientWith makes a client with settings and interceptors of its own; those added come closest to the network. It must be closed.
func (r *rig) newClientWith(
	settings webrtc.SettingEngine, extend func(*webrtc.MediaEngine, *interceptor.Registry) error, prepare func(c *client),
) *client {
	r.t.Helper()
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	engine := &webrtc.MediaEngine{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		r.t.Fatal(err)
	}
	registry := &interceptor.Registry{}
	if err := extend(engine, registry); err != nil {
		r.t.Fatal(err)
	}
	if err := webrtc.RegisterDefaultInterceptors(engine, registry); err != nil {
		r.t.Fatal(err)
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		r.t.Fatal(err)
	}
	c := &client{t: r.t, pc: pc}
	if prepare != nil {
		prepare(c)
	}
	return c
}

func (c *client) offer() string {
	c.t.Helper()
	offer, err := c.pc.CreateOffer(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(offer); err != nil {
		c.t.Fatal(err)
	}
	<-gathered
	return c.pc.LocalDescription().SDP
}

func (c *client) accept(answer string) {
	c.t.Helper()
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		c.t.Fatal(err)
	}
}

// channel opens a data channel and gives what arrives on it.
func (c *client) channel(label, protocol string) (*webrtc.DataChannel, <-chan message) {
	c.t.Helper()
	d, err := c.pc.CreateDataChannel(label, &webrtc.DataChannelInit{Protocol: &protocol})
	if err != nil {
		c.t.Fatal(err)
	}
	return d, collect(c.t, d)
}

// message is a server message as a page sees it.
type message struct {
	Outcome *struct {
		Session      string
		Stream       string
		Sequence     uint32
		RtpTimestamp *uint32
		Clock        string
		Model        string
		Result       *struct{ Detections []struct{ Label string } }
		Drop         *struct{ Reason string }
		Error        *struct{ Code string }
		Timings      map[string]float64
	}
	Pong         *struct{ ID uint32 }
	SenderReport *struct {
		Ssrc         uint32
		RtpTimestamp uint32
		NtpMillis    float64
	}
	Summary *struct{ Streams []map[string]any }
	Drain   *struct{ ReconnectWithin float64 }
	Skipped *uint32
}

func collect(t *testing.T, d *webrtc.DataChannel) <-chan message {
	t.Helper()
	messages := make(chan message, 4096)
	d.OnMessage(func(m webrtc.DataChannelMessage) {
		if !m.IsString {
			t.Error("a server message is not text")
		}
		var parsed message
		if err := json.Unmarshal(m.Data, &parsed); err != nil {
			t.Errorf("server message: %v", err)
		}
		messages <- parsed
	})
	return messages
}

func wait[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(soon):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

// outcome gives the next outcome that arrives.
func outcome(t *testing.T, from <-chan message) message {
	t.Helper()
	for {
		if m := wait(t, from, "outcome"); m.Outcome != nil {
			return m
		}
	}
}

func opened(t *testing.T, d *webrtc.DataChannel) {
	t.Helper()
	up := make(chan struct{})
	var once sync.Once
	d.OnOpen(func() { once.Do(func() { close(up) }) })
	wait(t, up, "open channel")
}

// camera sends VP8 that is none but for its headers.
type camera struct {
	t     *testing.T
	track *webrtc.TrackLocalStaticRTP
	keys  chan struct{} // asked for
	seq   uint16
	ts    uint32
}

func (c *client) camera(id string) *camera {
	c.t.Helper()
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, id, "stream")
	if err != nil {
		c.t.Fatal(err)
	}
	sender, err := c.pc.AddTrack(track)
	if err != nil {
		c.t.Fatal(err)
	}
	cam := &camera{t: c.t, track: track, keys: make(chan struct{}, 100), seq: 65000, ts: 4294900000}
	go func() { // ends with the connection
		for {
			packets, _, err := sender.ReadRTCP()
			if err != nil {
				return
			}
			for _, p := range packets {
				if strings.Contains(strings.ToLower(typeName(p)), "pictureloss") {
					cam.keys <- struct{}{}
				}
			}
		}
	}()
	return cam
}

// send sends one frame in two packets, and gives its timestamp. Missing leaves the second packet out.
func (c *camera) send(key, missing bool) uint32 {
	c.t.Helper()
	c.ts += 3000
	frame := []byte{0x01, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	if key {
		frame = []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0, 0, 0}
	}
	for i, part := range [][]byte{append([]byte{0x10}, frame...), {0x00, 9, 9, 9, 9}} {
		c.seq++
		if missing && i == 1 {
			continue
		}
		err := c.track.WriteRTP(&rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: c.seq, Timestamp: c.ts, Marker: i == 1},
			Payload: part,
		})
		if err != nil {
			c.t.Fatal(err)
		}
	}
	return c.ts
}

// jpeg is enough of a JPEG to be recognised.
func jpeg(size int) []byte {
	b := make([]byte, size)
	copy(b, "\xff\xd8\xff\xe0")
	return b
}

func chunk(id, index, count uint32, body []byte) []byte {
	b := append([]byte(chunkMagic), make([]byte, 12)...)
	binary.BigEndian.PutUint32(b[4:], id)
	binary.BigEndian.PutUint32(b[8:], index)
	binary.BigEndian.PutUint32(b[12:], count)
	return append(b, body...)
}
