//go:build linux && (amd64 || arm64)

// Package sandbox shuts a process in for good: after Enter it can compute, use the memory it has and the file descriptors it holds, and
// nothing else. It opens no file, makes no connection, starts no process, and gets no new descriptor. Two fences stand one behind the
// other: Landlock denies every file, TCP port and, where the kernel knows that, every outside signal and abstract socket; a system-call
// filter ends the process at the first call that decoding does not need. Both hold for every thread that is and will be.
//
// Enter is for a process that has set itself up: loaded its libraries, mapped its memory, opened what it will use.
package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/landlock-lsm/go-landlock/landlock"
	landlocksys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

// Enter shuts the calling process in, as far as mode demands, and says what stands. memory is the number of bytes that the process may
// allocate beyond what it has. When a demanded fence cannot be had, the error says which; the process is then half fenced and must end.
func Enter(mode ipc.Sandbox, memory int64) (ipc.Hello, error) {
	var stands ipc.Hello
	used, err := dataBytes() // while files can be read
	if err != nil {
		return stands, err
	}
	if mode != ipc.Off {
		// No other process of the user may attach to this one, or read its memory.
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
			return stands, fmt.Errorf("making the process undumpable: %w", err)
		}
		abi, err := denyFiles()
		if err != nil && mode == ipc.Required {
			return stands, fmt.Errorf("%w: a kernel of 5.13 or newer with Landlock enabled is needed, or decoder.sandbox: best-effort", err)
		}
		stands.Landlock = uint8(abi)
	}
	if err := limit(used + uint64(memory)); err != nil {
		return stands, err
	}
	if mode != ipc.Off {
		err := filterCalls()
		if err != nil && mode == ipc.Required {
			return stands, fmt.Errorf("%w: a kernel of 4.14 or newer with seccomp is needed, or decoder.sandbox: best-effort", err)
		}
		stands.Seccomp = err == nil
	}
	return stands, nil
}

// limit bounds private memory and descriptors. A core file would hold pictures.
func limit(memory uint64) error {
	for _, l := range []struct {
		name     string
		resource int
		value    uint64
	}{
		{"memory", unix.RLIMIT_DATA, memory},
		{"core file", unix.RLIMIT_CORE, 0},
		{"file size", unix.RLIMIT_FSIZE, 0},
		// Descriptors in use stay; one is what poll may watch.
		{"descriptors", unix.RLIMIT_NOFILE, 1},
	} {
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: l.value, Max: l.value}); err != nil {
			return fmt.Errorf("limiting %s to %d: %w", l.name, l.value, err)
		}
	}
	return nil
}

// dataBytes gives the private memory that counts against RLIMIT_DATA. Go and the linker have taken some; how much is their affair.
func dataBytes() (uint64, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, fmt.Errorf("reading the memory in use: %w", err)
	}
	var size, resident, shared, code, library, data uint64
	if _, err := fmt.Sscan(string(text), &size, &resident, &shared, &code, &library, &data); err != nil {
		return 0, fmt.Errorf("reading the memory in use: %w", err)
	}
	return data * uint64(os.Getpagesize()), nil
}

// denyFiles puts Landlock's fence up and gives its version in force.
func denyFiles() (abi int, err error) {
	abi, err = landlocksys.LandlockGetABIVersion()
	if err != nil || abi < 1 {
		return 0, errors.Join(errors.New("the kernel has no Landlock"), err)
	}
	// With no rule, all that the kernel can deny is denied. Best effort concerns versions beyond the first, which stands in any case.
	if err := landlock.V11.BestEffort().Restrict(); err != nil {
		return 0, fmt.Errorf("denying files: %w", err)
	}
	return abi, nil
}

// filterCalls puts the system-call filter up for all threads.
func filterCalls() error {
	program, err := assemble(policy(os.Getpid()))
	if err != nil {
		return fmt.Errorf("assembling the system-call filter: %w", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up new privileges: %w", err)
	}
	return install(program)
}
