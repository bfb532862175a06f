// Package cpu measures what a stream costs: 720p at 30 frames a second, every frame decoded, ten a second converted to RGB 640×360, by the edge, by other WebRTC stacks doing the same
// work, and by bare C, which is the limit. It runs inside a network namespace of its own (see Inside), because some stacks do not talk on loopback.
package cpu

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

const (
	rate                        = 30
	every                       = 3 // one picture in so many is converted
	clockRate                   = 90000
	pictureWidth, pictureHeight = 640, 360
	// window and deadline are those of sluice-router: what waits beyond them is given up by the edge.
	window   = 4
	deadline = 250 * time.Millisecond
	// settle is how long streams run before they are measured.
	settle = 2 * time.Second
)

// Config says what is measured.
type Config struct {
	// Root is the repository's root, Native the folder of the C programs and the clips, where profiles go too.
	Root, Native string
	Codecs       []string
	// Systems are those that take part: limit, edge, aiortc, GStreamer.
	Systems []string
	// Few and Many are the numbers of streams of the table.
	Few, Many int
	// Rounds is how often each cell of the table is measured, Window for how long.
	Rounds int
	Window time.Duration
	// Most bounds the search for the largest number of streams; 0 leaves it out, with the overload that follows.
	Most int
	// Overload, unless 0, is the number of streams of an overload, which is then all that is measured.
	Overload int
	// Progress receives a line for each measurement, Report the tables.
	Progress, Report io.Writer
}

// system is one way of doing the work.
type system struct {
	name  string
	start func(ctx context.Context, w *workplace, codec string) (server, error)
	// begins and steps bound the search: it begins with so many streams and adds so many.
	begins, step int
}

// workplace is what all measurements share.
type workplace struct {
	cfg     Config
	dir     string // for scratch files
	address net.IP
	units   map[string][][]byte
	films   map[string]string // the same as files, a length before each unit
	systems []system
	missing map[string]string // peers that are not installed, and why
}

func newWorkplace(ctx context.Context, cfg Config) (*workplace, error) {
	w := &workplace{cfg: cfg, address: address, units: make(map[string][][]byte), films: make(map[string]string), missing: make(map[string]string)}
	var err error
	if w.dir, err = os.MkdirTemp("", "sluice-bench-"); err != nil {
		return nil, err
	}
	for _, codec := range cfg.Codecs {
		if err := w.prepare(codec); err != nil {
			return nil, errors.Join(err, w.close())
		}
	}
	w.systems = []system{
		{limitName, func(_ context.Context, w *workplace, codec string) (server, error) { return startLimit(w, codec) }, 0, 0},
		{edgeName, func(ctx context.Context, w *workplace, codec string) (server, error) { return startEdge(ctx, w, codec) }, 16, 4},
	}
	for _, p := range []struct {
		name, script, needs string
		begins, step        int
	}{
		{aiortcName, "aiortc_peer.py", "import aiortc, aiohttp", 4, 2},
		{gstreamerName, "gstreamer_peer.py", "import gi; gi.require_version('GstWebRTC', '1.0'); from gi.repository import GstWebRTC", 8, 2},
	} {
		if out, err := exec.CommandContext(ctx, python, "-c", p.needs).CombinedOutput(); err != nil {
			w.missing[p.name] = fmt.Sprintf("not installed (%s)", lastLine(out))
			continue
		}
		start := func(ctx context.Context, w *workplace, codec string) (server, error) {
			return startPeer(ctx, w, p.script, codec)
		}
		w.systems = append(w.systems, system{p.name, start, p.begins, p.step})
	}
	w.systems = slices.DeleteFunc(w.systems, func(s system) bool { return !slices.Contains(cfg.Systems, s.name) })
	return w, nil
}

// prepare reads a clip, and writes it for the C program.
func (w *workplace) prepare(codec string) error {
	path, ok := clips(w.cfg.Native)[codec]
	if !ok {
		return fmt.Errorf("no clip for codec %q: there are vp8 and h264", codec)
	}
	units, err := readClip(path)
	if err != nil {
		return err
	}
	var film []byte
	for _, u := range units {
		film = append(binary.LittleEndian.AppendUint32(film, uint32(len(u))), u...)
	}
	w.units[codec], w.films[codec] = units, filepath.Join(w.dir, codec)
	return os.WriteFile(w.films[codec], film, 0o600)
}

func (w *workplace) close() error { return os.RemoveAll(w.dir) }

// Run measures, prints the tables and counts the goals that were missed.
func Run(ctx context.Context, cfg Config) (missed int, err error) {
	if err := setUpNetwork(ctx); err != nil {
		return 0, err
	}
	w, err := newWorkplace(ctx, cfg)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	r := &report{cfg: cfg, missing: w.missing, most: make(map[string]int)}
	if cfg.Overload > 0 {
		r.overload, err = w.overload(ctx, cfg.Overload, cfg.Codecs[0])
	} else {
		err = w.all(ctx, r)
	}
	if err != nil {
		return 0, err
	}
	_, err = fmt.Fprintln(cfg.Report, r.render())
	return r.missed(), err
}

// all measures everything.
func (w *workplace) all(ctx context.Context, r *report) (err error) {
	if r.cells, err = w.table(ctx); err != nil {
		return err
	}
	if r.profile, err = w.profile(ctx); err != nil {
		return err
	}
	if w.cfg.Most > 0 {
		return w.extremes(ctx, r)
	}
	return nil
}

// extremes finds out how many streams each system can take, and what the edge does with more.
func (w *workplace) extremes(ctx context.Context, r *report) (err error) {
	for _, s := range w.systems {
		if s.step == 0 {
			continue
		}
		if r.most[s.name], err = w.search(ctx, s, w.cfg.Codecs[0]); err != nil {
			return err
		}
	}
	if r.most[edgeName] == 0 {
		return nil
	}
	r.overload, err = w.overload(ctx, r.most[edgeName]*5/4, w.cfg.Codecs[0])
	return err
}

// say tells of progress.
func (w *workplace) say(format string, arguments ...any) {
	_, _ = fmt.Fprintf(w.cfg.Progress, "cpu  "+format+"\n", arguments...)
}

// pass lets time pass.
func pass(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
