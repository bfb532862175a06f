// Package publish sends clips to an edge the way browsers send cameras, and keeps account of what comes back.
package publish

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/sluice-dev/sluice/services/ctl/internal/clip"
	"github.com/sluice-dev/sluice/services/ctl/internal/whip"
)

// Config says what to publish.
type Config struct {
	// Edges take the streams in turn. At least one.
	Edges []*whip.Client
	// Reconnect makes another session, at the next of Edges, when a stream's edge asks it to leave, ends its session or falls silent: until Duration is over, or an edge refuses for good.
	Reconnect bool
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
		p := &publisher{cfg: cfg, index: i, tally: newTally(), lines: lines, edge: i}
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
	edge         int        // counts the edges that were asked, from the stream's own on
	video, sound *clip.Clip // either may be nil
	loss         *loss      // nil for none
	tally        *Tally
	lines        *lineWriter
	inputs       map[string]whip.SoundInput // by model

	mu      sync.Mutex
	visits  []*visit // one after another
	failure error
}

func (p *publisher) report() Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.tally.Report(time.Now())
	for _, v := range p.visits {
		r.Sessions = append(r.Sessions, v.report())
	}
	if n := len(r.Sessions); n > 0 {
		r.Session = r.Sessions[n-1].ID
	}
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
	defer func() { p.tally.End(time.Now()) }()
	if p.cfg.Reconnect {
		return p.keep(ctx)
	}
	v, err := p.visit(ctx, p.next())
	if err != nil {
		return err
	}
	return v.run(ctx)
}

// next gives the edge to ask next.
func (p *publisher) next() *whip.Client {
	edge := p.cfg.Edges[p.edge%len(p.cfg.Edges)]
	p.edge++
	return edge
}

// visit makes a session with an edge.
func (p *publisher) visit(ctx context.Context, edge *whip.Client) (*visit, error) {
	if p.sound != nil && p.inputs == nil {
		inputs, err := edge.SoundModels(ctx)
		if err != nil {
			return nil, err
		}
		p.inputs = inputs
	}
	p.mu.Lock()
	number := len(p.visits)
	p.mu.Unlock()
	v := newVisit(p, number)
	c, err := connect(ctx, edge, wish{video: p.video, sound: p.sound, models: p.cfg.Models, loss: p.loss}, v.message)
	if err != nil {
		return nil, err
	}
	v.connection = c
	p.mu.Lock()
	defer p.mu.Unlock()
	p.visits = append(p.visits, v)
	return v, nil
}
