package decoder_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
)

// TestKilledProcess kills the process while a clip plays. The stream goes on at its next key unit; an earlier payload stays as it was.
func TestKilledProcess(t *testing.T) {
	const killed, nextKey = 5, 15
	d := open(t, nil)
	var before, kept []byte
	for i, u := range vp8Clip(t) {
		if i == killed {
			if err := unix.Kill(d.PID(), unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		pictures, err := decode(d, 1, uint64(i), u, faces)
		want := ""
		switch {
		case i == killed:
			want = "DECODER"
		case i > killed && i < nextKey:
			want = "DAMAGED"
		}
		var e *decoder.Error
		if errors.As(err, &e); reason(err) != want || want != "" && (!e.NeedKey || e.Crashed != (i == killed)) {
			t.Fatalf("unit %d: %v (%+v), want %q", i, err, e, want)
		}
		if i == 0 {
			before, kept = pictures[0].Payload, slices.Clone(pictures[0].Payload)
			defer pictures[0].Release()
			continue
		}
		release(pictures)
	}
	if !slices.Equal(before, kept) {
		t.Error("a payload in use changed when the process was killed")
	}
}

// TestRestartsAreLimited kills every process that starts.
func TestRestartsAreLimited(t *testing.T) {
	d := open(t, nil)
	image := unit(media.PNG, encodePNG(t, noise(16, 16)))
	for i := range 4 {
		if err := d.Start(t.Context()); err != nil {
			t.Fatalf("start %d: %v", i, err)
		}
		if err := unix.Kill(d.PID(), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if _, err := decode(d, 1, uint64(i), image, faces); reason(err) != "DECODER" {
			t.Fatalf("with a dead process: %v, want DECODER", err)
		}
	}
	if err := d.Start(t.Context()); err == nil || d.PID() != 0 {
		t.Errorf("a fifth start within a minute: %v, process %d", err, d.PID())
	}
	var e *decoder.Error
	if _, err := decode(d, 1, 9, image, faces); !errors.As(err, &e) || e.Code != media.DecoderError || !e.Crashed {
		t.Errorf("a unit without a process: %v, want DECODER", err)
	}
}

// TestHungDecoder gives libavcodec work for half a minute, and more on a busy machine.
func TestHungDecoder(t *testing.T) {
	d := open(t, func(c *decoder.Config) { c.Timeout = 250 * time.Millisecond })
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	_, err := decode(d, 1, 1, unit(media.JPEG, endlessJPEG(1920, 1080, 4<<20)), faces)
	var e *decoder.Error
	if !errors.As(err, &e) || !e.Crashed || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%v, want a crash for the time it took", err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %v to give up", took)
	}
	if pictures, err := decode(d, 1, 2, unit(media.PNG, encodePNG(t, noise(16, 16))), faces); err != nil || release(pictures) != 1 {
		t.Errorf("the next unit: %v", err)
	}
}

// TestStoppedProcess stops the process, so that it uses no time at all.
func TestStoppedProcess(t *testing.T) {
	d := open(t, func(c *decoder.Config) { c.Timeout = 50 * time.Millisecond })
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(d.PID(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var e *decoder.Error
	if _, err := decode(d, 1, 1, unit(media.PNG, encodePNG(t, noise(16, 16))), faces); !errors.As(err, &e) || !e.Crashed {
		t.Errorf("%v, want a crash", err)
	}
}

// TestMemoryLimit decodes what needs more than is allowed, then what does not, in one process.
func TestMemoryLimit(t *testing.T) {
	d := open(t, func(c *decoder.Config) { c.Memory = 12 << 20 })
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	process := d.PID()
	if _, err := decode(d, 1, 1, unit(media.PNG, encodePNG(t, quadrants(1920, 1080))), faces); reason(err) != "OVERLOADED" {
		t.Errorf("a picture of 6 MB, and 8 MB to unpack it, in 12 MiB: %v, want OVERLOADED", err)
	}
	if pictures, err := decode(d, 1, 2, unit(media.PNG, encodePNG(t, noise(16, 16))), faces); err != nil || release(pictures) != 1 {
		t.Errorf("a small picture afterwards: %v", err)
	}
	if d.PID() != process {
		t.Error("the process was restarted")
	}
}

// TestSlotsRunOut holds every payload; units are decoded all the same, so that the stream goes on.
func TestSlotsRunOut(t *testing.T) {
	d := open(t, func(c *decoder.Config) { c.Slots = 2 })
	units := vp8Clip(t)
	var held []decoder.Picture
	for i := range 5 {
		pictures, err := decode(d, 1, uint64(i), units[i], faces)
		want := ""
		if i >= 2 {
			want = "OVERLOADED"
		}
		var e *decoder.Error
		if errors.As(err, &e); reason(err) != want || e != nil && e.NeedKey {
			t.Fatalf("unit %d: %v, want %q and no key unit", i, err, want)
		}
		held = append(held, pictures...)
	}
	release(held)
	if pictures, err := decode(d, 1, 5, units[5], faces, native(64, 64)); err != nil || release(pictures) != 2 {
		t.Errorf("after the release: %v", err)
	}
}

// TestPayloadsOutliveClose reads and releases a payload after its Decoder has gone.
func TestPayloadsOutliveClose(t *testing.T) {
	d := open(t, nil)
	pictures, err := decode(d, 1, 1, unit(media.PNG, encodePNG(t, noise(64, 64))), native(64, 64))
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(pictures[0].Payload)
	process := d.PID()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(pictures[0].Payload, want) {
		t.Error("the payload changed")
	}
	pictures[0].Release()
	if err := unix.Kill(process, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("process %d is still there: %v", process, err)
	}
	if _, err := decode(d, 1, 2, unit(media.PNG, nil), faces); reason(err) != "DRAINING" || !errors.Is(err, decoder.ErrClosed) {
		t.Errorf("decoding after Close: %v", err)
	}
	if err := d.Start(t.Context()); !errors.Is(err, decoder.ErrClosed) {
		t.Errorf("starting after Close: %v", err)
	}
}

// TestNothingIsLeft makes and closes Decoders, and counts descriptors and mappings.
func TestNothingIsLeft(t *testing.T) {
	image := unit(media.PNG, encodePNG(t, noise(16, 16)))
	once := func() {
		d := open(t, nil)
		pictures, err := decode(d, 1, 1, image, faces)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		release(pictures)
	}
	once()
	descriptors, mappings := count(t)
	for range 5 {
		once()
	}
	if d, m := count(t); d > descriptors || m > mappings {
		t.Errorf("descriptors went from %d to %d, mappings of shared memory from %d to %d", descriptors, d, mappings, m)
	}
}

func count(t *testing.T) (descriptors, mappings int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries), strings.Count(string(maps), "sluice-decoder")
}

// TestStreamsTogether decodes several streams from several goroutines, closes some and, at the end, all while units are under way.
func TestStreamsTogether(t *testing.T) {
	d := open(t, func(c *decoder.Config) { c.Slots = 16 })
	clips := [][]media.AccessUnit{vp8Clip(t), h264Clip(t, "1280x720", "bframes=0:cabac=0"), {unit(media.JPEG, encodeJPEG(t, noise(96, 96)))}}
	var streams sync.WaitGroup
	for s := range uint32(6) {
		units := clips[s%3]
		streams.Go(func() {
			for i := range 30 {
				pictures, err := decode(d, s, uint64(i), units[i%len(units)], faces, native(64, 64))
				if n := release(pictures); err != nil || n != 2 {
					t.Errorf("stream %d, unit %d: %d pictures, %v", s, i, n, err)
				}
			}
			d.Forget(s)
		})
	}
	streams.Wait()
	for s := range uint32(3) {
		streams.Go(func() {
			for i := 0; ; i++ {
				pictures, err := decode(d, s, uint64(i), clips[0][i%30], faces)
				release(pictures)
				if errors.Is(err, decoder.ErrClosed) {
					return
				}
			}
		})
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	streams.Wait()
}

// TestWaitingIsBounded gives up the wait for another stream's unit, and says that the stream's own is lost.
func TestWaitingIsBounded(t *testing.T) {
	d := open(t, func(c *decoder.Config) { c.Timeout = 250 * time.Millisecond })
	key := vp8Clip(t)[0]
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	var busy sync.WaitGroup
	busy.Go(func() { _, _ = decode(d, 1, 1, unit(media.JPEG, endlessJPEG(1920, 1080, 4<<20)), faces) })
	var err error
	for err == nil { // until the other stream has its turn
		_, err = d.Decode(cancelled, decoder.Request{Stream: 2, Unit: key})
	}
	var e *decoder.Error
	if !errors.As(err, &e) || e.Drop != media.Overloaded || !e.NeedKey || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want OVERLOADED and a key unit to be asked for", err)
	}
	busy.Wait()
}

// edgeVariable makes the test binary an edge that starts a decoder, says its process's id, gives it endless work, and waits to be killed.
const edgeVariable = "SLUICE_TEST_EDGE"

func actAsEdge(path string, out io.Writer) int {
	d, err := decoder.New(decoder.Config{Path: path, Timeout: time.Hour})
	if err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	if err := d.Start(context.Background()); err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	fmt.Fprintln(out, d.PID())
	_, err = decode(d, 1, 1, unit(media.JPEG, endlessJPEG(1920, 1080, 4<<20)), faces)
	fmt.Fprintln(out, err)
	return 1
}

// TestDecoderEndsWithItsEdge kills an edge whose decoder is deep in C code.
func TestDecoderEndsWithItsEdge(t *testing.T) {
	edge := exec.Command(os.Args[0])
	edge.Env = append(os.Environ(), edgeVariable+"="+program)
	output, err := edge.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := edge.Start(); err != nil {
		t.Fatal(err)
	}
	var process int
	if _, err := fmt.Fscan(bufio.NewReader(output), &process); err != nil {
		t.Fatal(err)
	}
	handle, err := unix.PidfdOpen(process, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(handle)
	waitForWork(t, process)
	if err := edge.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = edge.Wait()
	ended := []unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}}
	if n, err := unix.Poll(ended, 5000); n != 1 || err != nil {
		t.Errorf("process %d lives on 5 s after its edge was killed (%v)", process, err)
		_ = unix.Kill(process, unix.SIGKILL)
	}
}

// waitForWork waits until the process has computed for a while.
func waitForWork(t *testing.T, process int) {
	t.Helper()
	used := processTime(t, process)
	for deadline := time.Now().Add(20 * time.Second); processTime(t, process) < used+200*time.Millisecond; {
		if time.Now().After(deadline) {
			t.Fatal("the decoder does nothing")
		}
		if _, err := unix.Poll(nil, 10); err != nil && !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
	}
}
