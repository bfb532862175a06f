package peer

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/sluice-dev/sluice/pkg/jitter"
	"github.com/sluice-dev/sluice/pkg/media"
)

// Packet is an RTP packet as it arrived. It belongs to whoever receives it.
type Packet struct {
	RTP *rtp.Packet
	// Codec is what the packet's payload type means; it may change within a track.
	Codec media.Codec
	// ClockRate is how many ticks of RTP timestamps make a second. For G.722 that is not its rate of samples (RFC 3551 section 4.5.2).
	ClockRate uint32
	// Channels is how many channels of sound are announced; 0 for video. Opus always announces two and says in each packet what is there.
	Channels int
	// Arrival is when the packet was read from the connection.
	Arrival time.Time
	// Capture is when the sender says that it captured what the packet begins with, as an NTP timestamp (seconds since 1900 in the upper 32
	// bits) of the clock of its sender reports; 0 when it does not say.
	Capture uint64
	// Rotation is how far pictures from this packet's on must be turned clockwise to be upright: 0, 90, 180 or 270 degrees. Oriented is false
	// where the packet does not say, so that nothing changes.
	Rotation uint16
	Oriented bool
}

// Track is one source of media that a client sends. It is safe for concurrent use.
type Track struct {
	// ID is the client's name for the track (RFC 8830), often a UUID. RID names the layer of a simulcast (RFC 8852), else it is empty.
	ID, RID string
	// Kind is that of a picture or of a sound.
	Kind media.Kind
	// Codec, ClockRate and Channels are those of the first packet.
	Codec     media.Codec
	ClockRate uint32
	Channels  int
	SSRC      uint32

	// Width and Height are the size that the client announced for the layer (RFC 8851); 0 when it did not.
	Width, Height int

	packets  chan Packet
	lost     atomic.Uint64
	patience atomic.Int64 // see Patience
	paused   atomic.Bool
	replaced atomic.Bool // by another source of the same name
	began    time.Time
	heard    atomic.Int64 // see Heard; since began
	peer     *Peer
}

// trackQueue is how many packets may wait for the session: about a second of a fast stream. More are lost, as on a network.
const trackQueue = 1024

// Packets gives the packets in the order of their arrival. It is closed when the track ends.
func (t *Track) Packets() <-chan Packet { return t.packets }

// Lost counts the packets that did not fit into the queue.
func (t *Track) Lost() uint64 { return t.lost.Load() }

// Patience is how long a missing packet may still come, as the round-trip time and the jitter are at present.
func (t *Track) Patience() time.Duration { return time.Duration(t.patience.Load()) }

// Pause stops or resumes a track of which nothing is wanted for a while, as of the layers of a simulcast that are not decoded: its packets are
// still read, for the client learns of the network from that, but thrown away, and none is asked for again.
func (t *Track) Pause(paused bool) { t.paused.Store(paused) }

// Heard gives the arrival of the newest packet, also of a track that is paused.
func (t *Track) Heard() time.Time { return t.began.Add(time.Duration(t.heard.Load())) }

// RequestKeyFrame asks the client for a key frame (PLI, RFC 4585 section 6.3.1). It does not wait.
func (t *Track) RequestKeyFrame() {
	t.peer.metrics.askedForKeyFrame()
	if err := t.peer.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: t.SSRC}}); err != nil {
		t.peer.logger.Debug("key frame not asked for", slog.String("error", err.Error()))
	}
}

// trackBegan is pion's callback for the first packet of a source.
func (p *Peer) trackBegan(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	f, size := formatOf(remote.Codec()), p.announcedSize(remote, receiver)
	t := &Track{
		ID: remote.ID(), RID: remote.RID(), Kind: media.KindSound, SSRC: uint32(remote.SSRC()),
		Codec: f.codec, ClockRate: f.clockRate, Channels: f.channels, Width: size.Width, Height: size.Height,
		packets: make(chan Packet, trackQueue), began: time.Now(), peer: p,
	}
	if remote.Kind() == webrtc.RTPCodecTypeVideo {
		t.Kind = media.KindPicture
	}
	t.patience.Store(int64(jitter.Wait(0, 0)))
	if atOnce, ever := p.admit(t, remote); atOnce > maxSources || ever > maxBegun {
		p.events.Violation(fmt.Sprintf("more than %d tracks at once, or %d one after the other", maxSources, maxBegun))
		return
	}
	if !p.start(func() { t.read(remote, newReading(receiver, &p.rotation)) }) {
		return
	}
	p.start(func() { t.readReports(receiver) })
	p.events.Track(t)
}

// admit enters a track, in place of one that reads from the same source (the newest claim counts), and tells how many there are, and how many
// there have been.
func (p *Peer) admit(t *Track, remote *webrtc.TrackRemote) (atOnce, ever int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for other, old := range p.reads {
		if other == remote || old.SSRC == t.SSRC {
			old.replaced.Store(true)
		}
	}
	p.reads[remote] = t
	p.tracks++
	p.everBegun++
	return p.tracks, p.everBegun
}

// trackEnded gives the place of a track back.
func (p *Peer) trackEnded(t *Track, remote *webrtc.TrackRemote) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tracks--
	if p.reads[remote] == t {
		delete(p.reads, remote)
	}
}

// maxFailures is how many packets in a row may be unreadable before the track counts as ended.
const maxFailures = 1000

// read takes packets off the connection until it ends, and asks for those that are missing.
func (t *Track) read(remote *webrtc.TrackRemote, reading *reading) {
	defer close(t.packets)
	defer t.peer.trackEnded(t, remote)
	r := newRecovery(t, remote)
	defer r.log()
	buffer := make([]byte, receiveMTU)
	failures := 0
	for {
		if err := r.awake(time.Now()); err != nil {
			return
		}
		n, _, err := remote.Read(buffer)
		arrival := time.Now()
		if err == nil {
			t.heard.Store(int64(arrival.Sub(t.began)))
			if t.paused.Load() && !t.replaced.Load() {
				failures = 0
				continue
			}
		}
		packet := &rtp.Packet{}
		if err == nil {
			err = packet.Unmarshal(append([]byte(nil), buffer[:n]...))
		}
		var timeout net.Error
		switch {
		case t.replaced.Load():
			return
		case errors.As(err, &timeout) && timeout.Timeout():
			continue
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe), failures >= maxFailures:
			return
		case err != nil: // a packet that pion or we cannot read: of an unknown payload type, say
			failures++
			t.lost.Add(1)
			continue
		}
		failures = 0
		t.peer.metrics.arrived()
		r.arrived(packet, arrival)
		select {
		case t.packets <- reading.packet(packet, arrival):
		default:
			t.lost.Add(1)
		}
	}
}

// readReports keeps the RTCP of a source flowing, for pion's interceptors see it only when it is read, and tells of sender reports.
func (t *Track) readReports(receiver *webrtc.RTPReceiver) {
	buffer := make([]byte, receiveMTU)
	for {
		var n int
		var err error
		if t.RID == "" {
			n, _, err = receiver.Read(buffer)
		} else {
			n, _, err = receiver.ReadSimulcast(buffer, t.RID)
		}
		if err != nil {
			return
		}
		packets, err := rtcp.Unmarshal(buffer[:n])
		if err != nil {
			continue
		}
		for _, packet := range packets {
			if r, ok := packet.(*rtcp.SenderReport); ok && r.SSRC == t.SSRC {
				t.peer.events.SenderReport(media.SenderReport{SSRC: r.SSRC, RTPTimestamp: r.RTPTime, NTP: r.NTPTime})
			}
		}
	}
}
