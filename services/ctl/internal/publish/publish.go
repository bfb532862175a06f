// Package publish sends clips to an edge the way browsers send cameras, and keeps account of what comes back.
package publish

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/ctl/internal/clip"
	"github.com/sluice-dev/sluice/services/ctl/internal/whip"
)

// drainLimit bounds the wait for the summary after the last frame.
const drainLimit = 5 * time.Second

// Config says what to publish.
type Config struct {
	Client *whip.Client
	// Clips are sent by the streams in turn, each in a loop: the pictures and the sounds among them each in their own turn, so that a stream with both has a clip of
	// each. At least one.
	Clips []*clip.Clip
	// Streams is the number of sessions. At least 1.
	Streams int
	// Loss is the share of the RTP packets that is lost on the way, 0 to 1; which ones depends on Seed.
	Loss float64
	Seed uint64
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
	publishers := cfg.publishers()
	var streams sync.WaitGroup
	for _, p := range publishers {
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

// publishers deals the clips out.
func (cfg Config) publishers() (all []*publisher) {
	var pictures, sounds []*clip.Clip
	for _, c := range cfg.Clips {
		if c.Sound != nil {
			sounds = append(sounds, c)
		} else {
			pictures = append(pictures, c)
		}
	}
	lines := &lineWriter{w: cfg.Outcomes}
	for i := range cfg.Streams {
		p := &publisher{
			cfg: cfg, index: i, tally: newTally(), lines: lines, summarised: make(chan struct{}),
			soundBase: rand.Uint32(), //nolint:gosec // see sendVideo
		}
		if len(pictures) > 0 {
			p.video = pictures[i%len(pictures)]
		}
		if len(sounds) > 0 {
			p.sound = sounds[i%len(sounds)]
		}
		if cfg.Loss > 0 {
			p.loss = &loss{share: cfg.Loss, seed: cfg.Seed + uint64(i)}
		}
		all = append(all, p)
	}
	return all
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
	cfg          Config
	index        int
	video, sound *clip.Clip // either may be nil
	soundBase    uint32     // the first RTP timestamp of the sound
	loss         *loss      // nil for none
	tally        *Tally
	lines        *lineWriter
	summarised   chan struct{}
	once         sync.Once

	mu      sync.Mutex
	session string
	failure error
	inputs  map[string]whip.SoundInput // by model
	began   time.Time                  // when the first sound would have been heard
}

func (p *publisher) report() Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.tally.Report(p.session)
	if p.loss != nil {
		r.Lost = p.loss.lost.Load()
	}
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
	if p.sound != nil {
		inputs, err := p.cfg.Client.SoundModels(ctx)
		if err != nil {
			return err
		}
		p.mu.Lock()
		p.inputs = inputs
		p.mu.Unlock()
	}
	c, err := connect(ctx, p.cfg.Client, wish{video: p.video, sound: p.sound, models: p.cfg.Models, loss: p.loss}, p.message)
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

// send sends picture and sound side by side, on one clock, and returns when both have done.
func (p *publisher) send(ctx context.Context, c *connection) error {
	start := time.Now()
	p.mu.Lock()
	p.began = start
	p.mu.Unlock()
	var failed [2]error
	var both sync.WaitGroup
	if p.video != nil {
		both.Go(func() { failed[0] = p.sendVideo(ctx, c, start) })
	}
	if p.sound != nil {
		both.Go(func() { failed[1] = p.sendSound(ctx, c, start) })
	}
	both.Wait()
	return cmp.Or(failed[0], failed[1])
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
		p.outcome(o, now, body.Outcome)
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

// outcome notes an outcome and writes its line.
func (p *publisher) outcome(o media.Outcome, now time.Time, m *sluicev1.Outcome) {
	if o.Stream == soundStream {
		if at, latency, ok := p.heard(o, now); ok {
			p.lines.write(line{Publisher: p.index, Seconds: new(at.Seconds()), Latency: latency.Seconds()}, m)
		}
		return
	}
	if frame, latency, ok := p.tally.Outcome(o, now); ok {
		p.lines.write(line{Publisher: p.index, Frame: &frame, ClipFrame: new(frame % len(p.video.Units)), Latency: latency.Seconds()}, m)
	}
}

// heard notes an outcome of a window of sound. It tells where in the clip the window begins, counted on when the clip is looped, and how long after the sending of the window's
// last sample the outcome came.
func (p *publisher) heard(o media.Outcome, now time.Time) (at, latency time.Duration, ok bool) {
	p.mu.Lock()
	input, known := p.inputs[o.Model]
	began := p.began
	p.mu.Unlock()
	if !known {
		return 0, 0, false
	}
	sound := p.sound.Sound
	hop := ticks(int64(input.Hop), input.Rate)
	sent := time.Duration(o.Sequence-1) * hop // raw sound has no timestamps, but its windows have numbers
	if o.RTP.Valid {
		sent = ticks(int64(int32(o.RTP.Timestamp-p.soundBase)), sound.Clock)
	}
	at = sent - ticks(int64(sound.Skip), sound.Clock)
	latency = now.Sub(began.Add(sent + ticks(int64(input.Window), input.Rate)))
	p.tally.Heard(o, at, hop, latency)
	return at, latency, true
}

// line is a line of Config.Outcomes: the frame that the outcome is about, or where in the sound its window begins.
type line struct {
	Publisher int             `json:"publisher"`
	Frame     *int            `json:"frame,omitempty"`
	ClipFrame *int            `json:"clipFrame,omitempty"`
	Seconds   *float64        `json:"seconds,omitempty"`
	Latency   float64         `json:"latency"`
	Outcome   json.RawMessage `json:"outcome"`
}

// lineWriter writes outcomes as lines of JSON, for several publishers at once.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lineWriter) write(entry line, o *sluicev1.Outcome) {
	if l.w == nil {
		return
	}
	b, err := wire.JSON(o)
	if err != nil {
		return
	}
	entry.Outcome = b
	text, err := json.Marshal(entry)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.w.Write(append(text, '\n')) // A full disk shows in the file; the publishing goes on.
}
