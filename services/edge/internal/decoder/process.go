package decoder

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

const (
	// startTimeout bounds a process's start. It takes about 30 ms, most of it the dynamic linker's, on an idle machine.
	startTimeout = 10 * time.Second
	// starved is how many times the timeout a process may take that got no processor time.
	starved = 4
	// niceness puts decoders behind the edge where there is not enough processor time: what receives and sends must not wait for forty decoders, or frames grow
	// old in the kernel's buffers, where no rule for late ones sees them.
	niceness = 5
)

// process is one run of the decoder program. It is not safe for concurrent use, but for kill.
type process struct {
	cmd    *exec.Cmd
	socket *os.File
	hello  ipc.Hello
	buffer [ipc.MaxMessage]byte
	// counted is the processor time that the metrics have been told of.
	metrics *Metrics
	counted time.Duration
	stopped bool
}

// resolve finds the program: a bare name beside the running program first, so that one build's parts find each other.
func resolve(path string) (string, error) {
	if !strings.ContainsRune(path, filepath.Separator) {
		if self, err := os.Executable(); err == nil {
			beside := filepath.Join(filepath.Dir(self), path)
			if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
				return beside, nil
			}
		}
	}
	found, err := exec.LookPath(path)
	if err != nil {
		return "", fmt.Errorf("finding the decoder's program (decoder.path): %w", err)
	}
	return filepath.Abs(found)
}

// startProcess runs the program and waits until its sandbox stands.
func startProcess(cfg Config, shared *memory) (*process, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	words, stderr, err := os.Pipe()
	if err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	defer words.Close()
	defer stderr.Close()

	cmd := exec.Command(cfg.Path, //nolint:gosec // the operator names the program, the edge its arguments
		"--sandbox", cfg.Sandbox.String(),
		"--memory", strconv.FormatInt(cfg.Memory, 10),
		"--pixels", strconv.Itoa(cfg.MaxWidth*cfg.MaxHeight),
		"--unit", strconv.Itoa(shared.layout.Unit),
		"--slots", strconv.Itoa(shared.layout.Slots),
		"--slot-bytes", strconv.Itoa(shared.layout.SlotBytes))
	// One thread decodes; a traceback would hold addresses and be read by nobody.
	cmd.Env = []string{"GOMAXPROCS=1", "GOTRACEBACK=none"}
	cmd.Dir = "/"
	cmd.Stderr = stderr
	cmd.ExtraFiles = []*os.File{theirs, shared.file}
	// A group of its own: Ctrl-C is the edge's to answer, which may drain first. The process ends when the edge's end of the socket does.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("starting the decoder: %w", err)
	}
	// Closed at once, so that the end of the process shows as the end of both.
	_ = theirs.Close()
	_ = stderr.Close()

	p := &process{cmd: cmd, socket: ours, metrics: cfg.Metrics}
	p.metrics.started()
	// Of the group, so of all threads that it has by now; later ones inherit it. One that has ended already says why in greet.
	if err := unix.Setpriority(unix.PRIO_PGRP, cmd.Process.Pid, niceness); err != nil && !errors.Is(err, unix.ESRCH) {
		state := p.stop()
		return nil, fmt.Errorf("lowering the decoder's priority (%s): %w", state, err)
	}
	if err := p.greet(); err != nil {
		state := p.stop()
		return nil, fmt.Errorf("the decoder did not start (%s): %w%s", state, err, lastWords(words))
	}
	return p, nil
}

// socketPair makes a socket whose first end is the edge's and waits without a thread.
func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a socket pair: %w", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		_ = unix.Close(fds[0])
		_ = unix.Close(fds[1])
		return nil, nil, fmt.Errorf("making a socket pair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "sluice-decoder"), os.NewFile(uintptr(fds[1]), "sluice-decoder peer"), nil
}

func (p *process) greet() error {
	if err := p.socket.SetDeadline(time.Now().Add(startTimeout)); err != nil {
		return err
	}
	n, err := p.socket.Read(p.buffer[:])
	if err != nil {
		return err
	}
	return p.hello.Parse(p.buffer[:n])
}

// lastWords gives what a process that never saw untrusted bytes said before it ended.
func lastWords(stderr *os.File) string {
	_ = stderr.SetReadDeadline(time.Now().Add(time.Second))
	text, _ := io.ReadAll(io.LimitReader(stderr, 2048))
	if len(text) == 0 {
		return ""
	}
	return ": " + strings.TrimSpace(string(text))
}

// ask sends message and gives the answer, which lies in the process's buffer until the next ask.
func (p *process) ask(message []byte, timeout time.Duration) ([]byte, error) {
	begin, used := time.Now(), p.cpu()
	p.count(used)
	if err := p.socket.SetDeadline(begin.Add(timeout)); err != nil {
		return nil, err
	}
	if _, err := p.socket.Write(message); err != nil {
		return nil, err
	}
	n, err := p.socket.Read(p.buffer[:])
	// A machine too busy to run the process is no reason to kill it: that would cost a key frame and make the machine busier.
	for until := begin.Add(starved * timeout); errors.Is(err, os.ErrDeadlineExceeded); {
		now, left := time.Now(), timeout-(p.cpu()-used)
		if left <= 0 || !now.Before(until) {
			break
		}
		if err := p.socket.SetDeadline(earlier(now.Add(max(left, time.Millisecond)), until)); err != nil {
			return nil, err
		}
		n, err = p.socket.Read(p.buffer[:])
	}
	if err != nil {
		return nil, err
	}
	return p.buffer[:n], nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// cpu gives the processor time that the process has used.
func (p *process) cpu() time.Duration {
	// MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED). The pid is ours until the process is waited for.
	clock := int32(^p.cmd.Process.Pid<<3 | 2)
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// count tells the metrics of the processor time used so far. It costs no look at the clock of its own: what a unit takes is told with the next one, or at the end.
func (p *process) count(used time.Duration) {
	p.metrics.spent(used - p.counted)
	p.counted = max(p.counted, used)
}

// isGone tells whether an error of the socket means that the process at its other end has ended.
func isGone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// kill ends the process without waiting for it. It may be called at any time.
func (p *process) kill() { _ = p.cmd.Process.Kill() }

// stop ends the process, reaps it and says how it ended.
func (p *process) stop() *os.ProcessState {
	_ = p.socket.Close()
	p.kill()
	_ = p.cmd.Wait()
	if state := p.cmd.ProcessState; !p.stopped && state != nil {
		p.stopped = true
		p.count(state.UserTime() + state.SystemTime())
		p.metrics.ended()
	}
	return p.cmd.ProcessState
}
