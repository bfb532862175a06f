package backend

import (
	"context"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

const (
	// warmTimeout bounds a first contact: servers compile and allocate on a model's first batches.
	warmTimeout = 60 * time.Second
	// measureTime bounds the measuring after it, by batches begun. A model that takes longer is measured with its small batches only.
	measureTime = 2 * time.Second
	// measurements is how often each size is measured. The least counts: what else the machine does makes a batch longer and never shorter.
	measurements = 3
)

// Timing is what a batch took on a target, from the call to the checked answer, when nothing else of this model ran there.
type Timing struct {
	// Batch is the number of frames.
	Batch int
	Took  time.Duration
}

// warm runs batches of frames without content: 1, 2, 4 … and the largest, once each, which is what a server compiles and allocates for, and then again to learn
// what they take. Inputs of which no frame is known to be good are not tried, and have no profile.
func (m *Model) warm(ctx context.Context, driver Driver, terms *terms) ([]Timing, error) {
	if m.packer.Sample() == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, warmTimeout)
	defer cancel()
	frames := make([]Frame, m.config.MaxBatch)
	for i := range frames {
		frames[i].Frame = &media.Frame{Payload: media.Payload{m.packer.Sample()}}
	}
	sizes := ramp(m.config.MaxBatch)
	for _, n := range sizes {
		if _, err := m.time(ctx, driver, terms, frames[:n]); err != nil {
			return nil, err
		}
	}
	var profile []Timing
	over := time.Now().Add(measureTime)
	for _, n := range sizes {
		for i := 0; i < measurements && time.Now().Before(over); i++ {
			took, err := m.time(ctx, driver, terms, frames[:n])
			if err != nil {
				return nil, err
			}
			if i == 0 {
				profile = append(profile, Timing{Batch: n, Took: took})
			}
			last := &profile[len(profile)-1]
			last.Took = min(last.Took, took)
		}
	}
	return profile, nil
}

// ramp gives the powers of two below the largest batch, and that.
func ramp(most int) []int {
	var sizes []int
	for n := 1; n < most; n *= 2 {
		sizes = append(sizes, n)
	}
	return append(sizes, most)
}

// time runs one batch and tells what it took.
func (m *Model) time(ctx context.Context, driver Driver, terms *terms, frames []Frame) (time.Duration, error) {
	begun := time.Now()
	reply, err := m.run(ctx, driver, terms, frames)
	if err != nil {
		return 0, err
	}
	reply.Release()
	return time.Since(begun), nil
}
