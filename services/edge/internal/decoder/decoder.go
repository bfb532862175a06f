// Package decoder turns compressed pictures into payloads, and compressed sound into samples, in a sandboxed process of their own, one
// process for each Decoder, which is one for each session. It is the edge's side: it starts, feeds, times and kills the process, and hands
// on pictures that lie in memory shared with it. It is pure Go. What the process says is believed only as bounded numbers.
package decoder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

// Config says how a Decoder works. The zero value of each field but Path means the default beside it.
type Config struct {
	// Path is the decoder's program. A bare name is looked up beside the running program, then in PATH.
	Path string
	// Sandbox says how much of the sandbox must stand; Required.
	Sandbox Sandbox
	// MaxWidth and MaxHeight bound sources by their product, so that 1920×1088 allows 1080×1920 too; 1920×1088.
	MaxWidth, MaxHeight int
	// Memory is the memory that decoding may take, beyond what the process starts with; 256 MiB.
	Memory int64
	// MaxUnit is the size of the largest unit in bytes; 4 MiB.
	MaxUnit int
	// Slots is the number of payloads that may be in use at once; 8. SlotBytes is the size of the largest; MaxWidth*MaxHeight*3.
	Slots, SlotBytes int
	// Timeout bounds one unit; 250 ms. A process that the machine starved, rather than one that hangs, gets up to four times as much.
	Timeout time.Duration
	Logger  *slog.Logger
	// Metrics, which may be shared by many decoders, counts what this one does; nil counts nothing.
	Metrics *Metrics
}

// Request is one unit of a stream, units in their order.
type Request struct {
	Stream uint32
	// Tag names the unit; the picture that it becomes carries it. It must differ from the stream's last 32.
	Tag  uint64
	Unit media.AccessUnit
	// Targets are the forms wanted, at most 16. None means that the unit is decoded for later units' sake only.
	Targets []media.PictureInput
}

// Picture is a unit's picture in one of the forms wanted.
type Picture struct {
	Tag uint64
	// Target is the index in its request's Targets.
	Target    int
	Placement media.Placement
	// Payload has Targets[Target].Bytes() bytes, or as many as its file. It lies in memory shared with the decoder process, which may change it at will: nothing
	// may be believed about it but its length. It is the holder's until Release, also after Close.
	Payload []byte
	// Release gives the payload back. It must be called exactly once, from any goroutine.
	Release func()
	// Decode and Convert are the times spent. Pictures of one unit share Decode and Convert.
	Decode, Convert time.Duration
}

// Decoder decodes the units of one session's streams. All methods may be called from any goroutine; units are decoded one at a time.
type Decoder struct {
	cfg    Config
	layout ipc.Layout

	// turn is held while the process is used. It guards all below it.
	turn    chan struct{}
	shared  *memory
	starts  [restartBudget + 1]time.Time // the last starts, oldest first
	message []byte
	reply   ipc.Reply
	sound   ipc.SoundReply
	sounds  map[soundKey]struct{}

	// mu guards what other goroutines than the turn's holder may touch, for moments.
	mu      sync.Mutex
	streams map[uint32]*stream
	proc    *process
	closed  bool
}

const (
	defaultSlots = 8
	// maxStreams bounds what the process keeps, of pictures and of sound; a session has at most 8 channels and a few tracks.
	maxStreams = 32
	// restartBudget is the number of restarts allowed in restartWindow: a session that crashes its decoder for sport pays with silence.
	restartBudget = 3
	restartWindow = time.Minute
)

// New checks the configuration and makes a Decoder. Its process starts with the first unit, or by Start.
func New(cfg Config) (*Decoder, error) {
	cfg = cfg.withDefaults()
	path, err := resolve(cfg.Path)
	if err != nil {
		return nil, err
	}
	cfg.Path = path
	d := &Decoder{
		cfg:     cfg,
		layout:  ipc.Layout{Unit: cfg.MaxUnit, Slots: cfg.Slots, SlotBytes: cfg.SlotBytes},
		turn:    make(chan struct{}, 1),
		streams: make(map[uint32]*stream),
		sounds:  make(map[soundKey]struct{}),
	}
	if err := d.layout.Check(); err != nil {
		return nil, err
	}
	return d, nil
}

func (c Config) withDefaults() Config {
	setDefault(&c.MaxWidth, 1920)
	setDefault(&c.MaxHeight, 1088)
	setDefault(&c.Memory, 256<<20)
	setDefault(&c.MaxUnit, 4<<20)
	setDefault(&c.Slots, defaultSlots)
	setDefault(&c.SlotBytes, c.MaxWidth*c.MaxHeight*3)
	setDefault(&c.Timeout, 250*time.Millisecond)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Check starts a decoder process and stops it again, so that a service can refuse to start where its decoders would.
func Check(cfg Config) error {
	d, err := New(cfg)
	if err != nil {
		return err
	}
	err = d.Start(context.Background())
	return errors.Join(err, d.Close())
}

// Start starts the process if none runs, so that the first unit need not wait for it.
func (d *Decoder) Start(ctx context.Context) error {
	if err := d.take(ctx); err != nil {
		return err
	}
	defer d.pass()
	_, err := d.running()
	return err
}

// Forget gives back what is kept for a stream that has ended. Its payloads in use stay.
func (d *Decoder) Forget(id uint32) {
	d.turn <- struct{}{}
	defer d.pass()
	d.mu.Lock()
	s, proc := d.streams[id], d.proc
	delete(d.streams, id)
	d.mu.Unlock()
	known := s != nil
	if known {
		s.abandon(d.shared)
	}
	for key := range d.sounds {
		if key.stream == id {
			delete(d.sounds, key)
			known = true
		}
	}
	if !known || proc == nil {
		return
	}
	request := ipc.Request{Op: ipc.Forget, Stream: id}
	if err := d.exchange(proc, &request); err != nil {
		d.crashed(proc, err)
	}
}

// Close ends the process, waits for its end and gives everything back but payloads in use, which stay until they are released.
// A unit under way is given up. Closing twice is harmless.
func (d *Decoder) Close() error {
	d.mu.Lock()
	d.closed = true
	if d.proc != nil {
		d.proc.kill()
	}
	d.mu.Unlock()

	d.turn <- struct{}{}
	defer d.pass()
	d.mu.Lock()
	proc := d.proc
	d.proc = nil
	d.mu.Unlock()
	if proc != nil {
		proc.stop()
	}
	if d.shared == nil {
		return nil
	}
	d.mu.Lock()
	for _, s := range d.streams {
		s.abandon(d.shared)
	}
	clear(d.streams)
	d.mu.Unlock()
	d.shared.close()
	d.shared = nil
	return nil
}

// PID gives the running process's id, 0 when none runs.
func (d *Decoder) PID() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc == nil {
		return 0
	}
	return d.proc.cmd.Process.Pid
}

// take waits for the turn.
func (d *Decoder) take(ctx context.Context) error {
	select {
	case d.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *Decoder) pass() { <-d.turn }

// running gives the process, started if need be and if the budget allows. The turn is held.
func (d *Decoder) running() (*process, error) {
	d.mu.Lock()
	proc, closed := d.proc, d.closed
	d.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if proc != nil {
		return proc, nil
	}
	now := time.Now()
	if oldest := d.starts[0]; !oldest.IsZero() && now.Sub(oldest) < restartWindow {
		return nil, fmt.Errorf("it ended %d times within %v", len(d.starts), restartWindow)
	}
	copy(d.starts[:], d.starts[1:])
	d.starts[len(d.starts)-1] = now
	if d.shared == nil {
		shared, err := newMemory(d.layout)
		if err != nil {
			return nil, err
		}
		d.shared = shared
	}
	proc, err := startProcess(d.cfg, d.shared)
	if err != nil {
		return nil, err
	}
	if d.cfg.Sandbox == BestEffort && (proc.hello.Landlock == 0 || !proc.hello.Seccomp) {
		d.cfg.Logger.Warn("decoder runs without its whole sandbox", "landlock", proc.hello.Landlock, "seccomp", proc.hello.Seccomp)
	}
	return proc, d.adopt(proc)
}

// adopt makes proc the running process, unless Close came first.
func (d *Decoder) adopt(proc *process) error {
	d.mu.Lock()
	closed := d.closed
	if !closed {
		d.proc = proc
	}
	d.mu.Unlock()
	if closed {
		proc.stop()
		return ErrClosed
	}
	return nil
}

// crashed ends the process after a failure, which Close may have been. Every stream then needs a key unit, and whatever was awaited will
// not come.
func (d *Decoder) crashed(proc *process, cause error) (closed bool) {
	d.mu.Lock()
	d.proc = nil
	closed = d.closed
	for _, s := range d.streams {
		s.needKey.Store(!s.codec.Intra())
		s.abandon(d.shared)
	}
	d.mu.Unlock()
	state := proc.stop()
	if !closed {
		d.cfg.Metrics.crashed(state, cause)
		d.cfg.Logger.Warn("decoder process ended", "pid", state.Pid(), "state", state.String(), "cause", cause, "violation", violated(state))
	}
	return closed
}

// violated tells whether the system-call filter ended the process.
func violated(state *os.ProcessState) bool {
	status, ok := state.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGSYS
}
