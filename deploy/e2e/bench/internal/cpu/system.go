package cpu

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/proc"
)

// The systems that do the work, by the names that the table has.
const (
	limitName     = "limit"
	edgeName      = "edge"
	aiortcName    = "aiortc"
	gstreamerName = "GStreamer"
)

// server is a system that runs. It is used by one goroutine.
type server interface {
	// add gives it more streams.
	add(ctx context.Context, streams int) error
	// processes are those whose time and memory count, with all that they start.
	processes() []int
	// counts gives for each stream how many frames have been decoded at a time.
	counts() []count
	// words are what it has said, for the case that it fails.
	words() string
	// stop ends it with its streams.
	stop() error
}

// count is a stream's.
type count struct {
	decoded uint64
	at      time.Time
}

// mostStreams is how many streams a system may have.
const mostStreams = 256

// countsFile is a file of pairs of uint64, decoded and converted, which other processes keep up to date.
type countsFile struct {
	path   string
	memory []byte
}

func newCountsFile(dir string) (*countsFile, error) {
	f, err := os.CreateTemp(dir, "counts-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	const size = mostStreams * 16
	if err := f.Truncate(size); err != nil {
		return nil, err
	}
	memory, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", f.Name(), err)
	}
	return &countsFile{f.Name(), memory}, nil
}

func (c *countsFile) read(streams int) []count {
	counts := make([]count, streams)
	for i := range counts {
		counts[i] = count{binary.NativeEndian.Uint64(c.memory[16*i:]), time.Now()}
	}
	return counts
}

func (c *countsFile) close() error { return errors.Join(unix.Munmap(c.memory), os.Remove(c.path)) }

// limit is bare C, a process a stream.
type limit struct {
	program, codec, film string
	file                 *countsFile
	streams              []*proc.Process
}

func startLimit(w *workplace, codec string) (server, error) {
	file, err := newCountsFile(w.dir)
	if err != nil {
		return nil, err
	}
	return &limit{program: filepath.Join(w.cfg.Native, "limit"), codec: codec, film: w.films[codec], file: file}, nil
}

func (l *limit) add(_ context.Context, streams int) error {
	for range streams {
		i := len(l.streams)
		phase := i * 7919 % (1000000 / rate) // microseconds, spread over a frame's time
		p, err := proc.Start(proc.Options{Path: l.program, Arguments: []string{l.codec, l.film, l.file.path, strconv.Itoa(i), strconv.Itoa(phase)}})
		if err != nil {
			return err
		}
		l.streams = append(l.streams, p)
	}
	return nil
}

func (l *limit) processes() (pids []int) {
	for _, p := range l.streams {
		pids = append(pids, p.PID())
	}
	return pids
}

func (l *limit) counts() []count { return l.file.read(len(l.streams)) }

func (l *limit) words() string {
	var words []string
	for _, p := range l.streams {
		words = append(words, p.Log())
	}
	return strings.Join(words, "\n")
}

func (l *limit) stop() error {
	var failures []error
	for _, p := range l.streams {
		failures = append(failures, p.Stop())
	}
	return errors.Join(append(failures, l.file.close())...)
}

// peer is another WebRTC stack behind a small WHIP endpoint of its own, one process.
type peer struct {
	*proc.Process
	file *countsFile
	load *load
}

// python is Debian's own, for which its packages are.
const python = "/usr/bin/python3"

func startPeer(ctx context.Context, w *workplace, script, codec string) (server, error) {
	file, err := newCountsFile(w.dir)
	if err != nil {
		return nil, err
	}
	port, err := freePort(w.address)
	if err != nil {
		return nil, errors.Join(err, file.close())
	}
	at := net.JoinHostPort(w.address.String(), port)
	p := &peer{file: file, load: newLoad(w, codec, "http://"+at+"/whip")}
	p.Process, err = proc.Start(proc.Options{
		Path: python, Arguments: []string{filepath.Join(w.cfg.Root, "deploy", "e2e", "bench", "peers", script), w.address.String(), port, file.path},
	})
	if err != nil {
		return nil, errors.Join(err, file.close())
	}
	err = p.Await(ctx, 30*time.Second, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/", http.NoBody)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		return response.Body.Close()
	})
	if err != nil {
		return nil, errors.Join(err, p.stop()) //nolint:contextcheck // what runs is stopped also when ctx is what ended
	}
	return p, nil
}

func (p *peer) add(ctx context.Context, streams int) error { return p.load.add(ctx, streams) }

func (p *peer) processes() []int { return []int{p.PID()} }

func (p *peer) counts() []count { return p.file.read(p.load.streams()) }

func (p *peer) words() string { return p.Log() }

// stop ends the peer first: one that has too much to do would take its time to say good-bye.
func (p *peer) stop() error {
	p.Kill()
	_ = p.load.stop() // there is nobody to tell any more
	return p.file.close()
}

func freePort(address net.IP) (string, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: address})
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}
