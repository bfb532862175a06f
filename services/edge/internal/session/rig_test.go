package session

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/transport/v5"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
	"github.com/sluice-dev/sluice/services/edge/internal/uplink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon is how long a test waits for what must happen at once, on a machine that is busy.
const soon = 15 * time.Second

// rig is an edge without routers and decoders, on 127.0.0.1.
type rig struct {
	t        *testing.T
	manager  *Manager
	endpoint *peer.Endpoint
	catalog  uplink.Catalog

	mu       sync.Mutex
	decoders []*fakeDecoder
	uplinks  []*fakeUplink
	// decode and answer, when set, replace what the fakes of later sessions do.
	decode func(decoder.Request) ([]decoder.Picture, error)
	answer func(media.Frame, media.Due) (media.Outcome, bool)
}

func faces() uplink.Catalog {
	return uplink.Catalog{
		Known: true, Reachable: true,
		Models: []media.Model{{Name: "faces", InputID: 1, Deadline: 2 * time.Second, Result: "detections", Ready: true}},
		Inputs: []media.Input{{ID: 1, Picture: media.PictureInput{Width: 32, Height: 32, Fit: media.Letterbox, Color: media.RGB}}},
	}
}

func newRig(t *testing.T, change func(*Deps)) *rig {
	t.Helper()
	r := newRigOn(t, nil, change)
	t.Cleanup(r.close)
	return r
}

// newRigOn makes an edge on the network given, the host's when it is nil. It must be closed.
func newRigOn(t *testing.T, network transport.Net, change func(*Deps)) *rig {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	cfg := peer.Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", Loopback: true, Logger: logger}
	if network != nil {
		cfg = peer.Config{UDP: ":8189", Net: network, Logger: logger}
	}
	endpoint, err := peer.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, endpoint: endpoint, catalog: faces()}
	deps := Deps{
		Limits:     Limits{Sessions: 4, Bitrate: 100e6, Message: 4 << 20},
		Endpoint:   endpoint,
		NewDecoder: r.newDecoder,
		OpenUplink: r.openUplink,
		Catalog:    func() uplink.Catalog { return r.catalog },
		Logger:     logger,
	}
	if change != nil {
		change(&deps)
	}
	if r.manager, err = NewManager(deps); err != nil {
		t.Fatal(err)
	}
	return r
}

// close ends everything and checks that nothing is left.
func (r *rig) close() {
	r.manager.Close()
	if err := r.endpoint.Close(); err != nil {
		r.t.Errorf("endpoint: %v", err)
	}
	for _, d := range r.decoders {
		d.check(r.t)
	}
	for _, u := range r.uplinks {
		if !u.closed {
			r.t.Error("an uplink was not closed")
		}
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// fakeDecoder makes a picture of anything and counts payloads in use.
type fakeDecoder struct {
	decode func(decoder.Request) ([]decoder.Picture, error)

	mu     sync.Mutex
	units  []decoder.Request
	leased int
	closed bool
}

func (r *rig) newDecoder() (Decoder, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := &fakeDecoder{decode: r.decode}
	r.decoders = append(r.decoders, d)
	return d, nil
}

func (d *fakeDecoder) Start(context.Context) error { return nil }
func (d *fakeDecoder) Forget(uint32)               {}

func (d *fakeDecoder) Decode(_ context.Context, r decoder.Request) ([]decoder.Picture, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	kept := r
	kept.Unit.Data = append([]byte(nil), r.Unit.Data...)
	d.units = append(d.units, kept)
	if d.decode != nil {
		return d.decode(r)
	}
	var pictures []decoder.Picture
	for i, target := range r.Targets {
		pictures = append(pictures, decoder.Picture{
			Tag: r.Tag, Target: i, Placement: media.Place(target, 64, 64), Payload: make([]byte, target.Bytes()),
			Release: d.lease(), Decode: time.Millisecond, Convert: time.Millisecond,
		})
	}
	return pictures, nil
}

// lease counts a payload until it is released. d.mu is held.
func (d *fakeDecoder) lease() func() {
	d.leased++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.leased--
	}
}

func (d *fakeDecoder) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return nil
}

func (d *fakeDecoder) check(t *testing.T) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed || d.leased != 0 {
		t.Errorf("a decoder was left closed=%v with %d payloads in use", d.closed, d.leased)
	}
}

// fakeUplink answers every frame at once.
type fakeUplink struct {
	handler uplink.Handler
	models  []string
	answer  func(media.Frame, media.Due) (media.Outcome, bool)

	mu     sync.Mutex
	frames []media.Frame
	closed bool
	lost   bool
}

func (r *rig) openUplink(_ string, models []string, h uplink.Handler) Uplink {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := &fakeUplink{handler: h, models: models, answer: r.answer}
	r.uplinks = append(r.uplinks, u)
	h.Opened(r.catalog.Models, r.catalog.Inputs)
	return u
}

func (u *fakeUplink) Offer(f media.Frame) {
	u.mu.Lock()
	kept := f
	kept.Payload, kept.Release = nil, nil
	u.frames = append(u.frames, kept)
	u.mu.Unlock()
	defer f.Free()
	for _, d := range f.Due {
		u.handler.Sent(f.Stream, f.Sequence, []string{d.Model})
		o := media.Outcome{
			Stream: f.Stream, Sequence: f.Sequence, Model: d.Model, BatchSize: 1,
			Result: &media.Result{Detections: []media.Detection{{Label: "face", Score: 0.9, Box: media.Box{Width: 0.5, Height: 0.5}}}},
		}
		if u.answer != nil {
			var ok bool
			if o, ok = u.answer(f, d); !ok {
				continue
			}
		}
		u.handler.Outcome(o)
	}
}

func (u *fakeUplink) Ready() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.lost
}

func (u *fakeUplink) Forget(string) {}

func (u *fakeUplink) Close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
}

// client is a browser's stand-in.
type client struct {
	t       *testing.T
	pc      *webrtc.PeerConnection
	session *Session
	rtcp    chan struct{} // a key frame was asked for
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
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.SetSCTPMaxReceiveBufferSize(8 << 20)
	engine := &webrtc.MediaEngine{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		r.t.Fatal(err)
	}
	registry := &interceptor.Registry{}
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
