package decoder_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/edge/internal/decoder"
	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

// roleVariable makes the test binary stand in for the decoder's program, see roles.
const roleVariable = "SLUICE_TEST_ROLE"

// roles are what a taken over, or simply wrong, decoder process may do with a request.
var roles = map[string]func(r ipc.Request) []byte{
	"forbidden call": func(ipc.Request) []byte {
		runtime.LockOSThread()
		if err := installFilter(on(unix.SYS_GETPPID, unix.SECCOMP_RET_KILL_PROCESS)); err != nil {
			return []byte(err.Error())
		}
		return []byte{byte(unix.Getppid())}
	},
	"empty":        func(ipc.Request) []byte { return []byte{0} },
	"noise":        func(ipc.Request) []byte { return bytes.Repeat([]byte{0xff}, ipc.MaxMessage) },
	"other tag":    func(r ipc.Request) []byte { return reply(r, func(a *ipc.Reply) { a.Tag++ }) },
	"other stream": func(r ipc.Request) []byte { return reply(r, func(a *ipc.Reply) { a.Stream++ }) },
	"no status":    func(r ipc.Request) []byte { return reply(r, func(a *ipc.Reply) { a.Status = 77 }) },
	"no size":      func(r ipc.Request) []byte { return reply(r, func(a *ipc.Reply) { a.Pictures[0].Width = 0 }) },
	"huge size": func(r ipc.Request) []byte {
		return reply(r, func(a *ipc.Reply) { a.Pictures[0].Width, a.Pictures[0].Height = 16383, 16383 })
	},
	"larger than a slot": func(r ipc.Request) []byte {
		return reply(r, func(a *ipc.Reply) { a.Pictures[0].Sizes[0] = 1<<32 - 1 })
	},
	"shorter than its pixels": func(r ipc.Request) []byte { return reply(r, func(a *ipc.Reply) { a.Pictures[0].Sizes[0]-- }) },
	"not asked for":           func(r ipc.Request) []byte { return reply(r, func(a *ipc.Reply) { a.Pictures[0].Tag += 5 }) },
	"twice": func(r ipc.Request) []byte {
		return reply(r, func(a *ipc.Reply) { a.Pictures = append(a.Pictures, a.Pictures[0]) })
	},
}

func reply(r ipc.Request, change func(*ipc.Reply)) []byte {
	a := ipc.Reply{Status: ipc.OK, Stream: r.Stream, Tag: r.Tag, Pictures: []ipc.Picture{{Tag: r.Tag, Width: 16, Height: 16, Done: 0xffff}}}
	for i, t := range r.Targets {
		a.Pictures[0].Sizes[i] = uint32(t.Input.Bytes())
	}
	change(&a)
	return a.Append(nil)
}

// playRole greets as a decoder in its sandbox does, and answers as the role says.
func playRole(role string) int {
	const socket = 3
	switch role {
	case "silent":
		_, _ = unix.Read(socket, make([]byte, 1))
		return 0
	case "other version":
		_, _ = unix.Write(socket, []byte("SLCD\xff\x00\x00\x00"))
		_, _ = unix.Read(socket, make([]byte, 1))
		return 0
	case "without Landlock":
		return withoutLandlock()
	}
	if _, err := unix.Write(socket, ipc.Hello{Landlock: 1, Seccomp: true}.Append(nil)); err != nil {
		return 1
	}
	message := make([]byte, ipc.MaxMessage)
	layout := ipc.Layout{Unit: 4 << 20, Slots: 8, SlotBytes: 1920 * 1088 * 3}
	for {
		n, err := unix.Read(socket, message)
		if err != nil || n == 0 {
			return 0
		}
		var r ipc.Request
		if err := r.Parse(message[:n], layout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if _, err := unix.Write(socket, roles[role](r)); err != nil {
			return 1
		}
	}
}

// withoutLandlock goes on as the real decoder on a kernel that has no Landlock.
func withoutLandlock() int {
	runtime.LockOSThread()
	if err := installFilter(on(unix.SYS_LANDLOCK_CREATE_RULESET, unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	path := os.Getenv("SLUICE_TEST_PROGRAM")
	fmt.Fprintln(os.Stderr, unix.Exec(path, append([]string{path}, os.Args[1:]...), []string{"GOMAXPROCS=1"}))
	return 1
}

// on is a system-call filter with a verdict on one call.
func on(call, verdict uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: call, SkipTrue: 1},
		bpf.RetConstant{Val: verdict},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
	}
}

// installFilter puts a system-call filter on this thread, which keeps it when it runs another program.
func installFilter(instructions []bpf.Instruction) error {
	program, err := bpf.Assemble(instructions)
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(program))
	for i, in := range program {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	fprog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog))); errno != 0 {
		return errno
	}
	return nil
}

// roleProgram writes a program that plays the role. The decoder's client hands no environment on, so a script sets it.
func roleProgram(t *testing.T, role string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "role")
	script := fmt.Sprintf("#!/bin/sh\n%s=%q SLUICE_TEST_PROGRAM=%q exec %q \"$@\"\n", roleVariable, role, program, os.Args[0])
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLies gives each a process that lies. It must be ended, cost the one unit, and leave nothing leased.
func TestLies(t *testing.T) {
	image := unit(media.PNG, encodePNG(t, noise(16, 16)))
	for role := range roles {
		t.Run(role, func(t *testing.T) {
			d := open(t, func(c *decoder.Config) { c.Path = roleProgram(t, role); c.Slots = 8 })
			var targets []media.PictureInput
			for range 8 {
				targets = append(targets, native(16, 16))
			}
			for tag := range uint64(2) { // the second finds all slots free again
				pictures, err := decode(d, 1, tag, image, targets...)
				release(pictures)
				var e *decoder.Error
				if !errors.As(err, &e) || !e.Crashed || e.Code != media.DecoderError || d.PID() != 0 {
					t.Errorf("%v, process %d; want a crash", err, d.PID())
				}
			}
		})
	}
}

func TestStartsThatFail(t *testing.T) {
	for _, c := range []struct{ name, path, want string }{
		{"no such program", "/nonexistent/sluice-decoder", "decoder.path"},
		{"a program that says nothing", "/bin/true", "did not start (exit status 0)"},
		{"another version", roleProgram(t, "other version"), "version 255"},
		{"a kernel without Landlock", roleProgram(t, "without Landlock"), "the kernel has no Landlock"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := decoder.Check(decoder.Config{Path: c.path}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for _, demand := range []decoder.Sandbox{decoder.Required, decoder.BestEffort, decoder.Off} {
		if err := decoder.Check(decoder.Config{Path: program, Sandbox: demand}); err != nil {
			t.Errorf("%v: %v", demand, err)
		}
	}
	if err := decoder.Check(decoder.Config{Path: program, Slots: 1000}); err == nil {
		t.Error("a gigabyte of slots was accepted")
	}
}

// TestBestEffortSaysWhatIsMissing decodes without Landlock where that was allowed.
func TestBestEffortSaysWhatIsMissing(t *testing.T) {
	var log bytes.Buffer
	d := open(t, func(c *decoder.Config) {
		c.Path, c.Sandbox, c.Logger = roleProgram(t, "without Landlock"), decoder.BestEffort, slog.New(slog.NewTextHandler(&log, nil))
	})
	pictures, err := decode(d, 1, 1, unit(media.PNG, encodePNG(t, noise(16, 16))), faces)
	if err != nil || release(pictures) != 1 {
		t.Errorf("decoding: %v", err)
	}
	if !strings.Contains(log.String(), "landlock=0 seccomp=true") {
		t.Errorf("the log does not name what is missing: %s", log.String())
	}
}

// TestViolationIsNamed lets the system-call filter end the process.
func TestViolationIsNamed(t *testing.T) {
	var log bytes.Buffer
	d := open(t, func(c *decoder.Config) {
		c.Path, c.Logger = roleProgram(t, "forbidden call"), slog.New(slog.NewTextHandler(&log, nil))
	})
	if _, err := decode(d, 1, 1, unit(media.PNG, encodePNG(t, noise(16, 16))), faces); reason(err) != "DECODER" {
		t.Errorf("%v, want DECODER", err)
	}
	if !strings.Contains(log.String(), "violation=true") {
		t.Errorf("the log does not name the violation: %s", log.String())
	}
}
