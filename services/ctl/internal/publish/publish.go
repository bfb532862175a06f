// Package publish sends clips to an edge the way browsers send cameras, and keeps account of what comes back.
package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/ctl/internal/clip"
	"github.com/sluice-dev/sluice/services/ctl/internal/whip"
)

const (
	clockRate = 90000 // RTP ticks a second of video (RFC 7741, RFC 9628, RFC 6184, RFC 7798)
	mtu       = 1200
	// drainLimit bounds the wait for the summary after the last frame.
	drainLimit = 5 * time.Second
)

// Config says what to publish.
type Config struct {
	Client *whip.Client
	// Clips are sent by the streams in turn, each in a loop. At least one.
	Clips []*clip.Clip
	// Streams is the number of sessions, each with one video track. At least 1.
	Streams int
	// Rate is in frames a second; 0 takes each clip's own, or 30.
	Rate float64
	// Duration ends the sending.
	Duration time.Duration
	Models   []string
	// Outcomes receives a line of JSON for every outcome, with the frame it is for; nil for none.
	Outcomes io.Writer
	// Progress is called about once a second, from one goroutine; nil for none.
	Progress func([]Report)
}

// Run publishes until the duration is over or ctx ends, then ends the sessions and gives a report for each stream. A stream that fails ends alone; its report says why.
// The error tells how many failed.
func Run(ctx context.Context, cfg Config) ([]Report, error) {
	lines := &lineWriter{w: cfg.Outcomes}
	publishers := make([]*publisher, cfg.Streams)
	var streams sync.WaitGroup
	for i := range publishers {
		p := &publisher{cfg: cfg, index: i, clip: cfg.Clips[i%len(cfg.Clips)], tally: newTally(), lines: lines, summarised: make(chan struct{})}
		publishers[i] = p
		streams.Go(func() { p.fail(p.run(ctx)) })
	}
	reports := func() []Report {
		var all []Report
		for _, p := range publishers {
			all = append(all, p.report())
		}
		return all
	}
	finished := make(chan struct{})
	var progress sync.WaitGroup
	if cfg.Progress != nil {
		progress.Go(func() {
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for {
				select {
				case <-finished:
					return
				case <-tick.C:
					cfg.Progress(reports())
				}
			}
		})
	}
	streams.Wait()
	close(finished)
	progress.Wait()
	return reports(), failures(publishers)
}

// failures sums up how the streams ended; nil when none failed.
func failures(publishers []*publisher) error {
	failed := slices.DeleteFunc(slices.Clone(publishers), func(p *publisher) bool { return p.failure == nil })
	switch {
	case len(failed) == 0:
		return nil
	case len(publishers) == 1:
		return failed[0].failure
	default:
		return fmt.Errorf("%d of %d streams failed, the first one: %w", len(failed), len(publishers), failed[0].failure)
	}
}

// publisher is one stream. run owns it but for tally and the mutex's fields.
type publisher struct {
	cfg        Config
	index      int
	clip       *clip.Clip
	tally      *Tally
	lines      *lineWriter
	summarised chan struct{}
	once       sync.Once

	mu      sync.Mutex
	session string
	failure error
}

func (p *publisher) report() Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.tally.Report(p.session)
	if p.failure != nil {
		r.Failure = p.failure.Error()
	}
	return r
}

func (p *publisher) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure = err
}

func (p *publisher) run(ctx context.Context) error {
	c, err := connect(ctx, p.cfg.Client, p.clip.Codec, p.cfg.Models, p.message)
	if err != nil {
		return err
	}
	defer c.close() //nolint:contextcheck // The session is ended also when ctx is what ended.
	if err := p.send(ctx, c); err != nil {
		return err
	}
	// Bye lets the edge finish what is in flight and say how it ended; deleting the session at once would cut the last outcomes off.
	if err := c.channel.SendText(`{"bye":{}}`); err != nil {
		return fmt.Errorf("the session ended before it was said good-bye to: %w", err)
	}
	limit := time.NewTimer(drainLimit)
	defer limit.Stop()
	select {
	case <-p.summarised:
		return nil
	case <-limit.C:
		return fmt.Errorf("no summary from the edge within %s", drainLimit)
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

// send paces the clip's units by the clock: frame n leaves at n/rate, whatever happened to the frames before it.
func (p *publisher) send(ctx context.Context, c *connection) error {
	rate := p.cfg.Rate
	if rate == 0 {
		rate = p.clip.Rate
	}
	if rate == 0 {
		rate = 30
	}
	payloader := newPayloader(p.clip.Codec)
	sequencer, base := rtp.NewRandomSequencer(), rand.Uint32() //nolint:gosec // An RTP timestamp's start is random, not secret (RFC 3550 section 5.1).
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; n++ {
		at := time.Duration(float64(n) / rate * float64(time.Second))
		if at >= p.cfg.Duration {
			return nil
		}
		timer.Reset(time.Until(start.Add(at)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		case <-c.down:
			return errors.New("the edge ended the connection")
		}
		stamp := base + uint32(uint64(math.Round(float64(n)/rate*clockRate)))
		p.tally.Sent(stamp, n, time.Now())
		payloads := payloader.Payload(mtu, p.clip.Units[n%len(p.clip.Units)])
		for i, payload := range payloads {
			packet := &rtp.Packet{
				Header:  rtp.Header{Version: 2, Marker: i == len(payloads)-1, SequenceNumber: sequencer.NextSequenceNumber(), Timestamp: stamp},
				Payload: payload,
			}
			if err := c.track.WriteRTP(packet); err != nil {
				return fmt.Errorf("frame %d: %w", n, err)
			}
		}
	}
}

// message takes one message of the edge.
func (p *publisher) message(text []byte) {
	now := time.Now()
	m := &sluicev1.ServerMessage{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, m); err != nil {
		return // A newer edge may say things that this publisher does not know.
	}
	switch body := m.GetBody().(type) {
	case *sluicev1.ServerMessage_Outcome:
		o, err := wire.OutcomeFromProto(body.Outcome)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.session = o.Session
		p.mu.Unlock()
		if frame, latency, ok := p.tally.Outcome(o, now); ok {
			p.lines.outcome(p.index, frame, frame%len(p.clip.Units), latency, body.Outcome)
		}
	case *sluicev1.ServerMessage_Skipped:
		p.tally.Skipped(body.Skipped)
	case *sluicev1.ServerMessage_Summary:
		if counts, err := wire.CountsFromProto(body.Summary.GetStreams()); err == nil {
			p.tally.Summary(counts)
		}
		p.mu.Lock()
		p.session = body.Summary.GetSession()
		p.mu.Unlock()
		p.once.Do(func() { close(p.summarised) })
	}
}

// lineWriter writes outcomes as lines of JSON, for several publishers at once.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lineWriter) outcome(publisher, frame, clipFrame int, latency time.Duration, o *sluicev1.Outcome) {
	if l.w == nil {
		return
	}
	b, err := wire.JSON(o)
	if err != nil {
		return
	}
	line, err := json.Marshal(struct {
		Publisher int             `json:"publisher"`
		Frame     int             `json:"frame"`
		ClipFrame int             `json:"clipFrame"`
		Latency   float64         `json:"latency"`
		Outcome   json.RawMessage `json:"outcome"`
	}{publisher, frame, clipFrame, latency.Seconds(), b})
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.w.Write(append(line, '\n')) // A full disk shows in the file; the publishing goes on.
}
