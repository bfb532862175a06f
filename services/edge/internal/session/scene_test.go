package session

import (
	"encoding/binary"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
	"github.com/sluice-dev/sluice/services/edge/internal/uplink"
)

// scene is a camera that sends each picture in several layers, each of which is a source with sequence numbers and timestamps of its own.
type scene struct {
	t      *testing.T
	sender *webrtc.RTPSender
	layers []*sceneLayer
	number uint32

	mu   sync.Mutex
	sent map[media.RTP]scenePicture
}

// scenePicture is what one unit shows.
type scenePicture struct {
	layer  int
	number uint32
	at     time.Time
}

type sceneLayer struct {
	track         *webrtc.TrackLocalStaticRTP
	rid           string
	ssrc          uint32
	width, height uint16
	seq           uint16
	ts            uint32
	begun, stops  bool

	mu       sync.Mutex
	keyAsked bool
	plis     []time.Time
	nacks    int
}

// scene adds a track with layers of the usual sizes, named so that nothing follows from their names.
func (c *client) scene() *scene {
	c.t.Helper()
	s := &scene{t: c.t, sent: make(map[media.RTP]scenePicture)}
	vp8 := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
	for i, l := range []struct {
		rid           string
		width, height uint16
	}{{"x", 320, 180}, {"a", 1280, 720}, {"m", 640, 360}} {
		track, err := webrtc.NewTrackLocalStaticRTP(vp8, "camera", "stream", webrtc.WithRTPStreamID(l.rid))
		if err != nil {
			c.t.Fatal(err)
		}
		layer := &sceneLayer{
			track: track, rid: l.rid, width: l.width, height: l.height, seq: uint16(20_000 * (i + 1)), ts: uint32(1<<32 - 1<<18 + i*1_000_000_000),
		}
		s.layers = append(s.layers, layer)
		if i == 0 {
			s.sender, err = c.pc.AddTrack(track)
		} else {
			err = s.sender.AddEncoding(track)
		}
		if err != nil {
			c.t.Fatal(err)
		}
		layer.ssrc = uint32(s.sender.GetParameters().Encodings[i].SSRC)
		go layer.listen(s.sender) // ends with the connection
	}
	return s
}

func (l *sceneLayer) listen(sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadSimulcastRTCP(l.rid)
		if err != nil {
			return
		}
		l.mu.Lock()
		for _, p := range packets {
			switch p.(type) {
			case *rtcp.PictureLossIndication:
				l.keyAsked = true
				l.plis = append(l.plis, time.Now())
			case *rtcp.TransportLayerNack:
				l.nacks++
			}
		}
		l.mu.Unlock()
	}
}

// asked gives how often a layer was asked for a key frame, and for packets.
func (l *sceneLayer) asked() (keys, packets int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.plis), l.nacks
}

// show sends the next picture in all layers that do not stop.
func (s *scene) show(every time.Duration) {
	s.number++
	for i, l := range s.layers {
		l.ts += uint32(every * 90000 / time.Second)
		l.mu.Lock()
		key := (!l.begun || l.keyAsked) && !l.stops
		if key {
			l.begun, l.keyAsked = true, false
		}
		l.mu.Unlock()
		if l.stops {
			continue
		}
		s.mu.Lock()
		s.sent[media.RTP{Valid: true, SSRC: l.ssrc, Timestamp: l.ts}] = scenePicture{i, s.number, time.Now()}
		s.mu.Unlock()
		s.send(l, sceneBytes(l.width, l.height, i, s.number, key))
	}
}

// sceneBytes gives the bytes of a picture, which tell what it is.
func sceneBytes(width, height uint16, layer int, number uint32, key bool) []byte {
	b := []byte{0x01, 0, 0}
	if key {
		b = []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, byte(width), byte(width >> 8), byte(height), byte(height >> 8)}
	}
	b = append(b, byte(layer))
	return append(binary.BigEndian.AppendUint32(b, number), make([]byte, 200)...)
}

// send sends a picture in four packets, with the extensions that name the track and the layer.
func (s *scene) send(l *sceneLayer, body []byte) {
	const packets = 4
	for i := range packets {
		l.seq++
		p := &rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: l.seq, Timestamp: l.ts, Marker: i == packets-1},
			Payload: append([]byte{0}, body[i*len(body)/packets:(i+1)*len(body)/packets]...),
		}
		if i == 0 {
			p.Payload[0] = 0x10
		}
		for _, e := range s.sender.GetParameters().HeaderExtensions {
			switch e.URI {
			case sdp.SDESMidURI:
				_ = p.SetExtension(uint8(e.ID), []byte("0"))
			case sdp.SDESRTPStreamIDURI:
				_ = p.SetExtension(uint8(e.ID), []byte(l.rid))
			}
		}
		if err := l.track.WriteRTP(p); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *scene) run(length time.Duration) {
	const every = time.Second / 30
	tick := time.NewTicker(every)
	defer tick.Stop()
	for range int(length / every) {
		s.show(every)
		<-tick.C
	}
}

// watcher is a decoder that knows the scene.
type watcher struct {
	t     *testing.T
	scene *scene

	mu      sync.Mutex
	current scenePicture
	shown   []scenePicture // what was decoded, with the time at which it was
}

// decode checks that a layer begins with a key frame and goes on without a hole.
func (w *watcher) decode(q decoder.Request) ([]decoder.Picture, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := 3
	if q.Unit.Key {
		at = 10
	}
	layer, number := int(q.Unit.Data[at]), binary.BigEndian.Uint32(q.Unit.Data[at+1:])
	w.scene.mu.Lock()
	want := w.scene.sent[q.Unit.RTP]
	w.scene.mu.Unlock()
	if want.layer != layer || want.number != number {
		w.t.Errorf("picture %d of layer %d came as %+v, which is picture %d of layer %d", number, layer, q.Unit.RTP, want.number, want.layer)
	}
	if !q.Unit.Key && (layer != w.current.layer || number != w.current.number+1) {
		w.t.Errorf("picture %d of layer %d was decoded after picture %d of layer %d", number, layer, w.current.number, w.current.layer)
	}
	w.current = scenePicture{layer, number, time.Now()}
	w.shown = append(w.shown, w.current)
	l := w.scene.layers[layer]
	var pictures []decoder.Picture
	for i, target := range q.Targets {
		pictures = append(pictures, decoder.Picture{
			Tag: q.Tag, Target: i, Placement: media.Place(target, int(l.width), int(l.height)), Payload: make([]byte, 1), Release: func() {},
		})
	}
	return pictures, nil
}

// since gives what was decoded from a time on.
func (w *watcher) since(from time.Time) []scenePicture {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, _ := slices.BinarySearchFunc(w.shown, from, func(p scenePicture, at time.Time) int { return p.at.Compare(at) })
	return slices.Clone(w.shown[i:])
}

// repairNames names the layer in retransmissions as browsers do it (RFC 8852), which pion does not.
type repairNames struct{ interceptor.NoOp }

// NewInterceptor implements interceptor.Factory.
func (r *repairNames) NewInterceptor(string) (interceptor.Interceptor, error) { return r, nil }

// BindLocalStream implements interceptor.Interceptor.
func (*repairNames) BindLocalStream(info *interceptor.StreamInfo, writer interceptor.RTPWriter) interceptor.RTPWriter {
	var name, repairs uint8
	for _, e := range info.RTPHeaderExtensions {
		switch e.URI {
		case sdp.SDESRTPStreamIDURI:
			name = uint8(e.ID)
		case sdp.SDESRepairRTPStreamIDURI:
			repairs = uint8(e.ID)
		}
	}
	return interceptor.RTPWriterFunc(func(header *rtp.Header, payload []byte, attributes interceptor.Attributes) (int, error) {
		if header.SSRC != info.SSRC {
			renamed := header.Clone()
			_ = renamed.SetExtension(repairs, header.GetExtension(name))
			_ = renamed.DelExtension(name)
			header = &renamed
		}
		return writer.Write(header, payload, attributes)
	})
}

// staging is a scene on its way to an edge over a network that takes 30 ms.
type staging struct {
	*scene
	*watcher
	rig     *rig
	network *network
	client  *client
	session *Session
	answer  string
}

func beginScene(t *testing.T, catalog uplink.Catalog) *staging {
	t.Helper()
	return beginSceneWith(t, catalog, withRepairNames, asIs)
}

func withRepairNames(_ *webrtc.MediaEngine, r *interceptor.Registry) error {
	r.Add(&repairNames{})
	return nil
}

// beginSceneWith is beginScene with interceptors of its own, and an offer that change has had its way with.
func beginSceneWith(
	t *testing.T, catalog uplink.Catalog, extend func(*webrtc.MediaEngine, *interceptor.Registry) error, change func(offer string) string,
) *staging {
	t.Helper()
	s := &staging{network: newNetworkOver(t, 30*time.Millisecond), watcher: &watcher{t: t}}
	s.rig = newRigOn(t, s.network.edge, nil)
	s.rig.catalog = catalog
	s.rig.decode = s.decode
	s.client = s.rig.newClientWith(s.network.settings(), extend, func(c *client) { s.scene = c.scene() })
	s.watcher.scene = s.scene
	session, answer, err := s.rig.manager.Create(t.Context(), Request{Offer: change(s.client.offer())})
	if err != nil {
		t.Fatal(err)
	}
	s.session, s.answer = session, answer
	s.client.accept(answer)
	<-time.After(5 * time.Second)
	if session.State() != Connected {
		t.Fatalf("the session is %q", session.State())
	}
	return s
}

func (s *staging) end() {
	s.rig.close()
	_ = s.client.pc.GracefulClose()
	_ = s.network.router.Stop()
}
