package session

import (
	"context"
	"time"

	"github.com/sluice-dev/sluice/pkg/depacket"
	"github.com/sluice-dev/sluice/pkg/jitter"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/sample"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
)

const videoClock = 90000 // ticks a second, of every video payload format

// source is where packets of a video track come from; *peer.Track is one.
type source interface {
	Packets() <-chan peer.Packet
	// Patience is how long a missing packet may still come.
	Patience() time.Duration
	RequestKeyFrame()
}

// sized is a source that has to know the size of the pictures that it brings.
type sized interface {
	// Shows tells of a whole key frame. It does not keep the unit.
	Shows(u *depacket.Unit)
}

// trackRunner takes a video track's packets in order through all stages up to the uplink. One goroutine runs it.
type trackRunner struct {
	source   source
	stream   *stream
	convert  *converter
	budget   *budget
	turns    turns
	maxBytes int // of a unit

	jitter    *jitter.Buffer
	assembler *depacket.Assembler
	codec     media.Codec
	gate      depacket.Gate
	times     *mediaTime
	ssrc      uint32 // of the newest packet
	layers    sample.Layers
	need      need
	turned    orientation
	// codecs are those of the payload types that came last.
	codecs [128]media.Codec

	// available is when what the jitter buffer gave last could have been taken from it: what lies between that and now is our own delay.
	available time.Time
	overload  overload
	behind    bool // units are given up until the next key frame since decoding could not keep up
}

func newTrackRunner(s source, st *stream, c *converter, b *budget, t turns, r *reportBoard, maxBytes int) *trackRunner {
	return &trackRunner{
		source: s, stream: st, convert: c, budget: b, turns: t, maxBytes: maxBytes, jitter: jitter.New(jitter.Config{}), times: newMediaTime(r),
		need: needAll,
	}
}

// run goes on until the track or ctx ends.
func (r *trackRunner) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case p, ok := <-r.source.Packets():
			if !ok {
				r.pop(ctx, time.Now().Add(time.Hour)) // what is still held back is late enough
				return
			}
			r.arrived(p)
		case <-timer.C:
		}
		r.jitter.SetWait(r.source.Patience())
		now := time.Now()
		r.pop(ctx, now)
		r.askForKey(now)
		timer.Reset(r.sleep(time.Now()))
	}
}

// arrived takes a packet off the connection.
func (r *trackRunner) arrived(p peer.Packet) {
	r.switchSource(p.RTP.SSRC)
	r.codecs[p.RTP.PayloadType&127] = p.Codec
	r.times.packet(p)
	r.turned.packet(p)
	r.jitter.Push(p.RTP, p.Arrival)
}

// sleep is how long there is nothing to do unless a packet comes.
func (r *trackRunner) sleep(now time.Time) time.Duration {
	wait := time.Hour
	if at, ok := r.jitter.Next(); ok {
		wait = min(wait, at.Sub(now))
	}
	if at, ok := r.gate.Next(); ok && r.need != needNothing {
		wait = min(wait, at.Sub(now))
	}
	return max(wait, 0)
}

func (r *trackRunner) askForKey(now time.Time) {
	if r.need != needNothing && r.gate.Ask(now) {
		r.source.RequestKeyFrame()
	}
}

// switchCodec follows a track whose payload type changes, where it does in the order of sending. A codec that no stage knows leaves the
// assembler nil.
func (r *trackRunner) switchCodec(ctx context.Context, codec media.Codec) {
	if codec == r.codec {
		return
	}
	if r.assembler != nil {
		r.units(ctx, r.assembler.Gap()) // one that is not whole now never will be
	}
	if r.codec != media.CodecUnknown { // else the first unit may well be a key frame, and the gate waits for one anyway
		r.gate.Break()
	}
	r.codec = codec
	r.assembler, _ = depacket.New(codec, r.maxBytes)
}

// switchSource goes over to another layer of a simulcast, which begins with a key frame. What is not whole of the old one is no loss: the new
// one shows the same.
func (r *trackRunner) switchSource(ssrc uint32) {
	if ssrc == r.ssrc {
		return
	}
	r.ssrc = ssrc
	r.jitter, r.layers = jitter.New(jitter.Config{}), sample.Layers{}
	if r.assembler != nil {
		r.assembler, _ = depacket.New(r.codec, r.maxBytes)
	}
}

// pop takes what the jitter buffer gives.
func (r *trackRunner) pop(ctx context.Context, now time.Time) {
	for ctx.Err() == nil {
		at, _ := r.jitter.Next()
		e, ok := r.jitter.Pop(now)
		if !ok {
			return
		}
		if at.After(r.available) {
			r.available = at
		}
		if e.Packet != nil {
			r.switchCodec(ctx, r.codecs[e.Packet.PayloadType&127])
		}
		switch {
		case r.assembler == nil:
		case e.Packet == nil:
			r.units(ctx, r.assembler.Gap())
		default:
			r.units(ctx, r.assembler.Push(e.Packet, e.Arrival))
		}
	}
}

// units takes what the assembler gave.
func (r *trackRunner) units(ctx context.Context, units []depacket.Unit) {
	for i := range units {
		r.unit(ctx, &units[i])
		r.assembler.Recycle(units[i].Data)
	}
}
