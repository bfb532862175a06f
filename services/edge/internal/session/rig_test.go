package session

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/transport/v5"
	"go.uber.org/goleak"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
	"github.com/sluice-dev/sluice/services/edge/internal/peer"
	"github.com/sluice-dev/sluice/services/edge/internal/uplink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon is how long a test waits for what must happen at once, on a machine that is busy.
const soon = 15 * time.Second

// rig is an edge without routers and decoders, on 127.0.0.1.
type rig struct {
	t        *testing.T
	manager  *Manager
	endpoint *peer.Endpoint
	catalog  uplink.Catalog

	mu       sync.Mutex
	decoders []*fakeDecoder
	uplinks  []*fakeUplink
	// decode and answer, when set, replace what the fakes of later sessions do.
	decode func(decoder.Request) ([]decoder.Picture, error)
	answer func(media.Frame, media.Due) (media.Outcome, bool)
	// holds, when set, is told of each frame in place of sending it; forget is what Forget does.
	holds  func()
	forget func(*fakeUplink)
	// opensAfter is how long routers take to say what the models need.
	opensAfter time.Duration
}

func faces() uplink.Catalog {
	return uplink.Catalog{
		Known: true, Reachable: true,
		Models: []media.Model{{Name: "faces", InputID: 1, Deadline: 2 * time.Second, Result: "detections", Ready: true}},
		Inputs: []media.Input{{ID: 1, Form: media.PictureForm(media.PictureInput{Width: 32, Height: 32, Fit: media.Letterbox, Color: media.RGB})}},
	}
}

func newRig(t *testing.T, change func(*Deps)) *rig {
	t.Helper()
	r := newRigOn(t, nil, change)
	t.Cleanup(r.close)
	return r
}

// newRigOn makes an edge on the network given, the host's when it is nil. It must be closed.
func newRigOn(t *testing.T, network transport.Net, change func(*Deps)) *rig {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	cfg := peer.Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", Loopback: true, Logger: logger}
	if network != nil {
		cfg = peer.Config{UDP: ":8189", Net: network, Logger: logger}
	}
	endpoint, err := peer.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, endpoint: endpoint, catalog: faces()}
	deps := Deps{
		Limits:     Limits{Sessions: 4, Bitrate: 100e6, Message: 4 << 20, Pixels: 1 << 20},
		Endpoint:   endpoint,
		NewDecoder: r.newDecoder,
		OpenUplink: r.openUplink,
		Catalog:    func() uplink.Catalog { return r.catalog },
		Logger:     logger,
	}
	if change != nil {
		change(&deps)
	}
	if r.manager, err = NewManager(deps); err != nil {
		t.Fatal(err)
	}
	return r
}

// close ends everything and checks that nothing is left.
func (r *rig) close() {
	r.manager.Close()
	if err := r.endpoint.Close(); err != nil {
		r.t.Errorf("endpoint: %v", err)
	}
	for _, d := range r.decoders {
		d.check(r.t)
	}
	for _, u := range r.uplinks {
		if !u.closed {
			r.t.Error("an uplink was not closed")
		}
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// fakeDecoder makes a picture of anything and counts payloads in use.
type fakeDecoder struct {
	decode func(decoder.Request) ([]decoder.Picture, error)
	listen func(decoder.SoundRequest, []int16) ([]int16, error)

	mu     sync.Mutex
	units  []decoder.Request
	sounds []decoder.SoundRequest
	leased int
	closed bool
}

func (r *rig) newDecoder() (Decoder, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := &fakeDecoder{decode: r.decode}
	r.decoders = append(r.decoders, d)
	return d, nil
}

func (d *fakeDecoder) Start(context.Context) error { return nil }
func (d *fakeDecoder) Forget(uint32)               {}

func (d *fakeDecoder) Decode(_ context.Context, r decoder.Request) ([]decoder.Picture, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	kept := r
	kept.Unit.Data = append([]byte(nil), r.Unit.Data...)
	d.units = append(d.units, kept)
	if d.decode != nil {
		return d.decode(r)
	}
	var pictures []decoder.Picture
	for i, target := range r.Targets {
		pictures = append(pictures, decoder.Picture{
			Tag: r.Tag, Target: i, Placement: media.Place(target, 64, 64), Payload: make([]byte, target.Bytes()),
			Release: d.lease(), Decode: time.Millisecond, Convert: time.Millisecond,
		})
	}
	return pictures, nil
}

// DecodeSound makes a sound of anything: each sample is the first byte of the data.
func (d *fakeDecoder) DecodeSound(_ context.Context, r decoder.SoundRequest, dst []int16) ([]int16, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sounds = append(d.sounds, r)
	if d.listen != nil {
		return d.listen(r, dst)
	}
	for range r.Samples {
		value := int16(0)
		if len(r.Data) > 0 {
			value = int16(r.Data[0])
		}
		dst = append(dst, value)
	}
	return dst, nil
}

// lease counts a payload until it is released. d.mu is held.
func (d *fakeDecoder) lease() func() {
	d.leased++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.leased--
	}
}

func (d *fakeDecoder) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return nil
}

func (d *fakeDecoder) check(t *testing.T) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed || d.leased != 0 {
		t.Errorf("a decoder was left closed=%v with %d payloads in use", d.closed, d.leased)
	}
}

// fakeUplink answers every frame at once.
type fakeUplink struct {
	handler uplink.Handler
	models  []string
	answer  func(media.Frame, media.Due) (media.Outcome, bool)
	holds   func()
	forget  func(*fakeUplink)

	mu     sync.Mutex
	frames []media.Frame
	closed bool
	lost   bool
}

func (r *rig) openUplink(_ string, models []string, _ media.Share, h uplink.Handler) Uplink {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := &fakeUplink{handler: h, models: models, answer: r.answer, holds: r.holds, forget: r.forget}
	r.uplinks = append(r.uplinks, u)
	if r.opensAfter > 0 {
		time.AfterFunc(r.opensAfter, func() { h.Opened(r.catalog.Models, r.catalog.Inputs) })
		return u
	}
	h.Opened(r.catalog.Models, r.catalog.Inputs)
	return u
}

func (u *fakeUplink) Offer(f media.Frame) {
	u.mu.Lock()
	kept := f
	kept.Payload, kept.Release = nil, nil
	u.frames = append(u.frames, kept)
	u.mu.Unlock()
	defer f.Free()
	if u.holds != nil {
		u.holds()
		return
	}
	for _, d := range f.Due {
		u.handler.Sent(f.Stream, f.Sequence, []string{d.Model}, "a router")
		o := media.Outcome{
			Stream: f.Stream, Sequence: f.Sequence, Model: d.Model, BatchSize: 1,
			Result: &media.Result{Detections: []media.Detection{{Label: "face", Score: 0.9, Box: media.Box{Width: 0.5, Height: 0.5}}}},
		}
		if u.answer != nil {
			var ok bool
			if o, ok = u.answer(f, d); !ok {
				continue
			}
		}
		u.handler.Outcome(o)
	}
}

func (u *fakeUplink) Ready() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.lost
}

func (u *fakeUplink) Forget(string) {
	if u.forget != nil {
		u.forget(u)
	}
}

func (u *fakeUplink) Close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
}
