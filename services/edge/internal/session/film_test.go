package session

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/transport/v5/vnet"
	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
	"github.com/sluice-dev/sluice/services/edge/internal/uplink"
)

// film is a camera whose every frame is known: a frame's bytes follow from its number, so whoever sees one can tell whether it is as it was
// sent and whether the frames that it depends on were seen.
type film struct {
	t       *testing.T
	track   *webrtc.TrackLocalStaticRTP
	packets int // a frame
	// pictureID, when set, gives what follows the first byte of a frame's payload descriptors (RFC 7741 section 4.2).
	pictureID func(number uint32) []byte
	number    uint32
	seq       uint16
	ts        uint32
	lastKey   time.Time
	sent      map[uint32]time.Time // by number
	numberOf  map[uint32]uint32    // by timestamp

	mu       sync.Mutex
	nacks    map[uint16]int
	plis     []time.Time
	keyAsked bool
	arrivals []time.Duration // by the clock of transport-wide feedback
}

func (c *client) film(packets int) *film {
	c.t.Helper()
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "camera", "stream")
	if err != nil {
		c.t.Fatal(err)
	}
	sender, err := c.pc.AddTrack(track)
	if err != nil {
		c.t.Fatal(err)
	}
	f := &film{
		t: c.t, track: track, packets: packets, seq: 65000, ts: 1<<32 - 1<<17,
		sent: map[uint32]time.Time{}, numberOf: map[uint32]uint32{}, nacks: map[uint16]int{},
	}
	go func() { // ends with the connection
		for {
			packets, _, err := sender.ReadRTCP()
			if err != nil {
				return
			}
			for _, p := range packets {
				f.feedback(p)
			}
		}
	}()
	return f
}

func (f *film) feedback(p rtcp.Packet) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch p := p.(type) {
	case *rtcp.PictureLossIndication:
		f.plis = append(f.plis, time.Now())
		f.keyAsked = true
	case *rtcp.TransportLayerNack:
		for _, pair := range p.Nacks {
			for _, number := range pair.PacketList() {
				f.nacks[number]++
			}
		}
	case *rtcp.TransportLayerCC:
		at := time.Duration(p.ReferenceTime) * 64 * time.Millisecond
		for _, d := range p.RecvDeltas {
			at += time.Duration(d.Delta) * time.Microsecond
			f.arrivals = append(f.arrivals, at)
		}
	}
}

// requests gives how often packets were asked for in all, how many different ones, and how often one at most.
func (f *film) requests() (all, packets, most int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.nacks {
		all, most = all+n, max(most, n)
	}
	return all, len(f.nacks), most
}

// pictureLosses gives when key frames were asked for.
func (f *film) pictureLosses() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.plis)
}

// picture gives the bytes of a frame.
func picture(number uint32, key bool, packets int) []byte {
	head := []byte{0x01, 0, 0}
	if key {
		head = []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0}
	}
	b := binary.BigEndian.AppendUint32(head, number)
	noise := rand.New(rand.NewPCG(uint64(number), 1))
	for len(b) < packets*50 {
		b = append(b, byte(noise.Uint32()))
	}
	return b
}

// show sends the next frame: a key frame when it is the first or one was asked for, as browsers' encoders do (at most every 300 ms).
func (f *film) show(every time.Duration) {
	f.t.Helper()
	now := time.Now()
	f.mu.Lock()
	key := f.number == 0 || f.keyAsked && now.Sub(f.lastKey) >= 300*time.Millisecond
	if key {
		f.keyAsked, f.lastKey = false, now
	}
	f.mu.Unlock()
	f.number++
	f.ts += uint32(every * 90000 / time.Second)
	f.sent[f.number], f.numberOf[f.ts] = now, f.number
	body := picture(f.number, key, f.packets)
	for i := range f.packets {
		part := body[i*len(body)/f.packets : (i+1)*len(body)/f.packets]
		f.seq++
		descriptor := []byte{0}
		if i == 0 {
			descriptor[0] = 0x10
		}
		if f.pictureID != nil {
			descriptor[0] |= 0x80
			descriptor = append(descriptor, f.pictureID(f.number)...)
		}
		err := f.track.WriteRTP(&rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: f.seq, Timestamp: f.ts, Marker: i == f.packets-1},
			Payload: append(descriptor, part...),
		})
		if err != nil {
			f.t.Fatal(err)
		}
	}
}

// run shows frames for a while.
func (f *film) run(rate int, length time.Duration) {
	every := time.Second / time.Duration(rate)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for range int(length / every) {
		f.show(every)
		<-tick.C
	}
}

// viewer is a decoder that knows the film.
type viewer struct {
	t       *testing.T
	packets int

	mu    sync.Mutex
	last  uint32 // number of the frame decoded last
	stamp map[uint32]bool
	seen  map[uint32]time.Time // by number
	keys  int
	stall time.Duration // before the next frame
	// nonsense tells that there will be more than frames of the film.
	nonsense bool
}

func newViewer(t *testing.T, packets int) *viewer {
	t.Helper()
	return &viewer{t: t, packets: packets, stamp: map[uint32]bool{}, seen: map[uint32]time.Time{}}
}

// decode checks that a frame is what was sent and that the one it depends on was here.
func (v *viewer) decode(q decoder.Request) ([]decoder.Picture, error) {
	v.mu.Lock()
	stall := v.stall
	v.stall = 0
	v.mu.Unlock()
	if stall > 0 {
		<-time.After(stall)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	at := 3
	if q.Unit.Key {
		at = 10
		v.keys++
	}
	if len(q.Unit.Data) < at+4 {
		if !v.nonsense {
			v.t.Errorf("% x is no frame of the film", q.Unit.Data)
		}
		return nil, &decoder.Error{Code: media.DecoderError, NeedKey: true}
	}
	number := binary.BigEndian.Uint32(q.Unit.Data[at:])
	if !bytes.Equal(q.Unit.Data, picture(number, q.Unit.Key, v.packets)) {
		v.t.Errorf("frame %d is not as it was sent", number)
	}
	if !q.Unit.Key && number != v.last+1 {
		v.t.Errorf("frame %d was decoded after %d", number, v.last)
	}
	if v.stamp[q.Unit.RTP.Timestamp] {
		v.t.Errorf("timestamp %d came twice", q.Unit.RTP.Timestamp)
	}
	v.last, v.stamp[q.Unit.RTP.Timestamp], v.seen[number] = number, true, time.Now()
	var pictures []decoder.Picture
	for i, target := range q.Targets {
		pictures = append(pictures, decoder.Picture{
			Tag: q.Tag, Target: i, Placement: media.Place(target, 64, 64), Payload: make([]byte, 1), Release: func() {},
		})
	}
	return pictures, nil
}

func (v *viewer) stallOnce(d time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stall = d
}

// showing is a film on its way to a viewer over a network.
type showing struct {
	*film
	*viewer
	rig     *rig
	client  *client
	network *network
	session *Session
	raw     *rawWriter
}

// begin connects a film to an edge over a network that takes delay each way, without data channels: closing a connection with those waits for
// a timer with a mutex held, which stops a bubble's clock.
func begin(t *testing.T, delay time.Duration, packets int) *showing {
	t.Helper()
	return beginWith(t, delay, packets, faces())
}

// beginWith is begin for certain models.
func beginWith(t *testing.T, delay time.Duration, packets int, catalog uplink.Catalog) *showing {
	t.Helper()
	s := &showing{network: newNetworkOver(t, delay), viewer: newViewer(t, packets), raw: &rawWriter{}}
	s.rig = newRigOn(t, s.network.edge, nil)
	s.rig.catalog = catalog
	s.rig.decode = s.decode
	extend := func(engine *webrtc.MediaEngine, registry *interceptor.Registry) error {
		registry.Add(s.raw)
		return webrtc.ConfigureTWCCHeaderExtensionSender(engine, registry)
	}
	s.client = s.rig.newClientWith(s.network.settings(), extend, func(c *client) { s.film = c.film(packets) })
	session, answer, err := s.rig.manager.Create(t.Context(), Request{Offer: s.client.offer()})
	if err != nil {
		t.Fatal(err)
	}
	s.session = session
	s.client.accept(answer)
	<-time.After(5 * time.Second)
	if session.State() != Connected {
		t.Fatalf("the session is %q", session.State())
	}
	return s
}

func (s *showing) end() {
	s.rig.close()
	_ = s.client.pc.GracefulClose()
	_ = s.network.router.Stop()
}

// wait gives how long after it was sent a frame was decoded.
func (s *showing) lag(number uint32) (time.Duration, bool) {
	s.viewer.mu.Lock()
	defer s.viewer.mu.Unlock()
	at, ok := s.seen[number]
	return at.Sub(s.sent[number]), ok
}

func (s *showing) decoded() int {
	s.viewer.mu.Lock()
	defer s.viewer.mu.Unlock()
	return len(s.seen)
}

// filter lets through what pass says; it is asked about media only, called from one goroutine, and told whether a packet is a retransmission.
func (s *showing) filter(pass func(sequence uint16, retransmission bool) bool) {
	s.network.router.AddChunkFilter(func(c vnet.Chunk) bool {
		b := c.UserData()
		if len(b) < 12 || b[0]>>6 != 2 || b[1] >= 192 && b[1] < 224 { // neither RTP
			return true
		}
		return pass(binary.BigEndian.Uint16(b[2:]), b[1]&0x7f == 97)
	})
}

// rawWriter gives a test the client's own way to send RTP, below everything that would make it right.
type rawWriter struct {
	interceptor.NoOp
	mu     sync.Mutex
	writer interceptor.RTPWriter
	info   *interceptor.StreamInfo
}

// NewInterceptor implements interceptor.Factory.
func (w *rawWriter) NewInterceptor(string) (interceptor.Interceptor, error) { return w, nil }

// BindLocalStream implements interceptor.Interceptor.
func (w *rawWriter) BindLocalStream(info *interceptor.StreamInfo, writer interceptor.RTPWriter) interceptor.RTPWriter {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writer, w.info = writer, info
	return writer
}

// send sends a packet of the media, or of its retransmissions, as it is.
func (w *rawWriter) send(t *testing.T, again bool, sequence uint16, timestamp uint32, kind uint8, payload []byte) {
	t.Helper()
	header := &rtp.Header{Version: 2, SequenceNumber: sequence, Timestamp: timestamp, PayloadType: kind, Marker: true}
	if again {
		header.SSRC, header.PayloadType = w.info.SSRCRetransmission, w.info.PayloadTypeRetransmission
	}
	if err := w.write(header, payload); err != nil {
		t.Error(err)
	}
}

// write sends a packet with a header of the test's making; without a source it is of the media's.
func (w *rawWriter) write(header *rtp.Header, payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if header.SSRC == 0 {
		header.SSRC = w.info.SSRC
	}
	_, err := w.writer.Write(header, payload, nil)
	return err
}
