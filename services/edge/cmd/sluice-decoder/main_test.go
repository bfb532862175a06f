//go:build cgo && linux && (amd64 || arm64)

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-dev/sluice/services/edge/internal/codec"
	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

const (
	// actionVariable makes the test binary a decoder that, in its sandbox, tries the action of that name; freeVariable leaves the sandbox out.
	actionVariable = "SLUICE_TEST_ACTION"
	freeVariable   = "SLUICE_TEST_FREE"

	// manyThreads is the action of a decoder that has lived long: it works on one thread after the other.
	manyThreads = "work on many threads"

	allowed = "ALLOWED"
	refused = "REFUSED"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(actionVariable); name != "" {
		os.Exit(attempt(name, os.Getenv(freeVariable) != "", os.Stdout))
	}
	os.Exit(m.Run())
}

func testSettings() settings {
	return settings{sandbox: ipc.Required, memory: 64 << 20, pixels: 640 * 480, layout: ipc.Layout{Unit: 1 << 16, Slots: 1, SlotBytes: 1 << 16}}
}

// attempt sets the process up as a decoder does, by the same functions, and then tries an action.
func attempt(name string, free bool, out io.Writer) int {
	s := testSettings()
	engine, err := prepare(s)
	if err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	defer engine.Close()
	actions := forbidden()
	if !free {
		if _, err := enter(s); err != nil {
			fmt.Fprintln(out, err)
			return 1
		}
	}
	if name == manyThreads {
		return workOnManyThreads(s, out)
	}
	for _, a := range actions {
		if a.name != name {
			continue
		}
		err := a.try()
		var errno unix.Errno
		if errors.As(err, &errno) {
			fmt.Fprintln(out, refused, int(errno), errno)
			return 0
		}
		fmt.Fprintln(out, allowed, err)
		return 0
	}
	fmt.Fprintln(out, "no such action")
	return 1
}

// workOnManyThreads opens and closes every decoder on more threads than glibc gives arenas to without counting the processors first.
func workOnManyThreads(s settings, out io.Writer) int {
	var threads sync.WaitGroup
	for range 24 {
		turn := make(chan error)
		threads.Go(func() {
			runtime.LockOSThread() // and never unlocked, so that each turn has a new thread
			engine, err := codec.New(s.layout, make([]byte, s.layout.Size()), s.pixels)
			if err == nil {
				engine.Close()
			}
			turn <- err
		})
		if err := <-turn; err != nil {
			fmt.Fprintln(out, err)
			return 1
		}
	}
	threads.Wait()
	fmt.Fprintln(out, allowed)
	return 0
}

// outcome runs the attempt in a process of its own that holds a decoder's descriptors, and says how it ended.
func outcome(t *testing.T, name string, free bool) (words string, killed bool) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	if _, err := ours.Write([]byte{0}); err != nil { // for whom it concerns
		t.Fatal(err)
	}
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	memory := os.NewFile(uintptr(fd), "memory")
	defer memory.Close()
	if err := memory.Truncate(int64(testSettings().layout.Size())); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), actionVariable+"="+name, "GOMAXPROCS=1", "GOTRACEBACK=none", "GORACE=atexit_sleep_ms=0")
	if free {
		cmd.Env = append(cmd.Env, freeVariable+"=1")
	}
	cmd.ExtraFiles = []*os.File{theirs, memory}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	_ = cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("the process did not end: %s", out.String())
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok {
		t.Fatalf("the process did not run: %s", out.String())
	}
	return out.String(), status.Signaled() && status.Signal() == unix.SIGSYS
}

// TestForbiddenActions tries each action in the real sandbox, where it must be refused, and outside, where it must be possible: else the
// first half would prove nothing.
func TestForbiddenActions(t *testing.T) {
	for _, a := range forbidden() {
		t.Run(a.name, func(t *testing.T) {
			words, killed := outcome(t, a.name, false)
			switch {
			case a.want == 0 && !killed:
				t.Errorf("the process was not ended: %s", words)
			case a.want != 0 && !strings.HasPrefix(words, fmt.Sprintf("%s %d ", refused, int(a.want))):
				t.Errorf("%q (ended: %v), want the error %v", words, killed, a.want)
			}
			if a.privileged {
				return
			}
			if words, killed := outcome(t, a.name, true); killed || !strings.HasPrefix(words, allowed) {
				t.Errorf("outside the sandbox: %q (ended: %v), want it allowed", words, killed)
			}
		})
	}
}

// Go moves a decoder's work between threads; none of that may look like an escape. glibc then opens files of its own now and then, to count the
// processors say, and goes on when it may not.
func TestWorkMovesBetweenThreads(t *testing.T) {
	if words, killed := outcome(t, manyThreads, false); killed || !strings.HasPrefix(words, allowed) {
		t.Errorf("%q (ended: %v), want it allowed", words, killed)
	}
}

func TestArgumentsByHand(t *testing.T) {
	t.Parallel()
	for _, arguments := range [][]string{nil, {"--help"}, {"clip.ivf"}, {"--memory", "1", "--pixels", "1"}} {
		if _, err := parse(arguments); err == nil {
			t.Errorf("parse(%q) found nothing wrong", arguments)
		}
	}
	good := []string{"--sandbox", "best-effort", "--memory", "1", "--pixels", "2", "--unit", "3", "--slots", "4", "--slot-bytes", "5"}
	want := settings{sandbox: ipc.BestEffort, memory: 1, pixels: 2, layout: ipc.Layout{Unit: 3, Slots: 4, SlotBytes: 5}}
	if got, err := parse(good); err != nil || got != want {
		t.Errorf("parse gave %+v and %v, want %+v", got, err, want)
	}
}
