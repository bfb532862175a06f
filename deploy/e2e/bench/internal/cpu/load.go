package cpu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pion/webrtc/v4/pkg/media/h264reader"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/publish"
)

// clips are what is published, by codec: 1280×720 at 30 frames a second and 1.6 Mbit/s, a slice a picture.
func clips(dir string) map[string]string {
	return map[string]string{"vp8": filepath.Join(dir, "camera-720p30.ivf"), "h264": filepath.Join(dir, "camera-720p30.h264")}
}

// readClip gives a clip's access units.
func readClip(path string) (units [][]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w (make bench makes it)", err)
	}
	defer func() { _ = f.Close() }()
	next, err := unitReader(path, f)
	if err != nil {
		return nil, err
	}
	for {
		unit, err := next()
		switch {
		case errors.Is(err, io.EOF) && len(units) > 0:
			return units, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		units = append(units, unit)
	}
}

func unitReader(path string, r io.Reader) (next func() ([]byte, error), err error) {
	if filepath.Ext(path) == ".ivf" {
		reader, _, err := ivfreader.NewWith(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return func() ([]byte, error) {
			unit, _, err := reader.ParseNextFrame()
			return unit, err
		}, nil
	}
	reader, err := h264reader.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return func() (unit []byte, err error) { // the clip has one slice a picture, so a slice ends an access unit
		for {
			nal, err := reader.NextNAL()
			if err != nil {
				return nil, err
			}
			unit = append(append(unit, 0, 0, 0, 1), nal.Data...)
			if nal.UnitType == h264reader.NalUnitTypeCodedSliceNonIdr || nal.UnitType == h264reader.NalUnitTypeCodedSliceIdr {
				return unit, nil
			}
		}
	}, nil
}

// load is the publisher of all streams of a server. Its methods are called from one goroutine, but sent may be called from any.
type load struct {
	endpoint, codec string
	units           [][]byte
	workplace       *workplace

	cancel  context.CancelFunc
	ctx     context.Context //nolint:containedctx // the life of the load: from the first stream to stop
	senders sync.WaitGroup

	mu    sync.Mutex
	films []*film // in the order of their beginning
}

// film is one stream that is being sent.
type film struct {
	*publish.Publisher
	ssrc uint32
	mu   sync.Mutex
	at   [sentKept]time.Time // when frames were sent, by number
}

// sentKept is how many frames' times are remembered: far more seconds than a frame may take.
const sentKept = 30 * rate

func newLoad(w *workplace, codec, endpoint string) *load {
	l := &load{endpoint: endpoint, codec: codec, units: w.units[codec], workplace: w}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// add connects more streams and lets them begin, each at its own part of a frame's time.
func (l *load) add(ctx context.Context, streams int) error {
	films, failures := make([]*film, streams), make([]error, streams)
	var connecting sync.WaitGroup
	places := make(chan struct{}, 4)
	for i := range films {
		places <- struct{}{}
		connecting.Go(func() {
			defer func() { <-places }()
			p, err := publish.Connect(ctx, publish.Config{Endpoint: l.endpoint, Codec: l.codec, Address: l.workplace.address})
			if err != nil {
				failures[i] = fmt.Errorf("stream %d: %w", i, err)
				return
			}
			films[i] = &film{Publisher: p, ssrc: p.SSRC()}
		})
	}
	connecting.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range films {
		if f == nil {
			continue
		}
		phase := time.Duration(len(l.films)*7919%(1000000/rate)) * time.Microsecond
		l.films = append(l.films, f)
		l.senders.Go(func() { f.play(l.ctx, l.units, phase) })
	}
	return errors.Join(failures...)
}

// play sends the clip in a loop until ctx ends or the connection does.
func (f *film) play(ctx context.Context, units [][]byte, phase time.Duration) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	start := time.Now().Add(phase)
	for n := 0; ; n++ {
		timer.Reset(time.Until(start.Add(time.Duration(n) * time.Second / rate)))
		select {
		case <-ctx.Done():
			return
		case now := <-timer.C:
			f.mu.Lock()
			f.at[n%sentKept] = now
			f.mu.Unlock()
		}
		if f.Send(units[n%len(units)], uint32(n*clockRate/rate)) != nil {
			return // it shows in the counts
		}
	}
}

// sent tells when a frame was sent.
func (l *load) sent(ssrc, timestamp uint32) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.films {
		if f.ssrc == ssrc {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.at[timestamp/(clockRate/rate)%sentKept], true
		}
	}
	return time.Time{}, false
}

func (l *load) streams() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.films)
}

// sources gives the streams' RTP sources.
func (l *load) sources() (ssrcs []uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.films {
		ssrcs = append(ssrcs, f.ssrc)
	}
	return ssrcs
}

// stop ends all streams.
func (l *load) stop() error {
	l.cancel()
	l.senders.Wait()
	var closing sync.WaitGroup
	failures := make([]error, len(l.films))
	for i, f := range l.films {
		closing.Go(func() { failures[i] = f.Close() })
	}
	closing.Wait()
	return errors.Join(failures...)
}
