package publish

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/ctl/internal/clip"
)

const (
	clockRate = 90000 // RTP ticks a second of video (RFC 7741, RFC 9628, RFC 6184)
	mtu       = 1200
)

// pace calls send for one unit after another, each when its time since start has come, whatever happened to those before it, until a unit's time is beyond the duration.
// after gives the time of unit n; it is asked for each once, in order.
func pace(ctx context.Context, down <-chan struct{}, start time.Time, duration time.Duration, after func(n int) time.Duration, send func(n int) error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; n++ {
		at := after(n)
		if at >= duration {
			return nil
		}
		timer.Reset(time.Until(start.Add(at)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		case <-down:
			return errHungUp
		}
		if err := send(n); err != nil {
			return err
		}
	}
}

func newPayloader(codec media.Codec) rtp.Payloader {
	switch codec {
	case media.H264:
		return &codecs.H264Payloader{}
	case media.H265:
		return &codecs.H265Payloader{}
	case media.VP9:
		return &codecs.VP9Payloader{}
	case media.AV1:
		return &codecs.AV1Payloader{}
	default:
		return &codecs.VP8Payloader{EnablePictureID: true}
	}
}

// sendVideo sends the clip's pictures at its rate: picture n leaves at n/rate.
func (v *visit) sendVideo(ctx context.Context, start time.Time, duration time.Duration) error {
	p, c := v.publisher, v.connection
	rate := p.cfg.Rate
	if rate == 0 {
		rate = p.video.Rate
	}
	if rate == 0 {
		rate = 30
	}
	payloader := newPayloader(p.video.Codec)
	sequencer, base := rtp.NewRandomSequencer(), rand.Uint32() //nolint:gosec // An RTP timestamp's start is random, not secret (RFC 3550 section 5.1).
	after := func(n int) time.Duration { return time.Duration(float64(n) / rate * float64(time.Second)) }
	return pace(ctx, c.down, start, duration, after, func(n int) error {
		stamp := base + uint32(uint64(math.Round(float64(n)/rate*clockRate)))
		unit := n % len(p.video.Units)
		p.tally.Sent(v.number, stamp, unit, time.Now())
		payloads := payloader.Payload(mtu, p.video.Units[unit])
		for i, payload := range payloads {
			packet := &rtp.Packet{
				Header:  rtp.Header{Version: 2, Marker: i == len(payloads)-1, SequenceNumber: sequencer.NextSequenceNumber(), Timestamp: stamp},
				Payload: payload,
			}
			if err := c.video.WriteRTP(packet); err != nil {
				return fmt.Errorf("frame %d: %w", n, err)
			}
		}
		return nil
	})
}

// sendSound sends the clip's packets, each when all of it would have been heard. Packets of silence are left out as browsers leave them out: the timestamps go on, the sequence
// numbers do not notice (RFC 7587 section 3.1.3).
func (v *visit) sendSound(ctx context.Context, start time.Time, duration time.Duration) error {
	p, c := v.publisher, v.connection
	sound := p.sound.Sound
	sequencer := rtp.NewRandomSequencer()
	var begin, end int64 // of the unit, in ticks since the start
	quiet := true
	after := func(n int) time.Duration {
		begin, end = end, end+int64(sound.Ticks[n%len(sound.Ticks)])
		return ticks(end, sound.Clock)
	}
	return pace(ctx, c.down, start, duration, after, func(n int) error {
		unit := p.sound.Units[n%len(p.sound.Units)]
		if c.samples != nil {
			p.tally.SentSound()
			return c.samples.Send(unit)
		}
		if clip.Silent(unit) {
			quiet = true
			return nil
		}
		p.tally.SentSound()
		packet := &rtp.Packet{
			Header:  rtp.Header{Version: 2, Marker: quiet, SequenceNumber: sequencer.NextSequenceNumber(), Timestamp: v.soundBase + uint32(begin)},
			Payload: unit,
		}
		quiet = false
		if err := c.sound.WriteRTP(packet); err != nil {
			return fmt.Errorf("sound packet %d: %w", n, err)
		}
		return nil
	})
}

// ticks gives a time in ticks of a clock as a duration.
func ticks(n int64, clock int) time.Duration {
	seconds, rest := n/int64(clock), n%int64(clock)
	return time.Duration(seconds)*time.Second + time.Duration(rest)*time.Second/time.Duration(clock)
}
