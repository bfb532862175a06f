package stack

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// stopLimit bounds how long a service may take to end after SIGTERM: its drain and some air.
const stopLimit = 20 * time.Second

// Process is a program that runs until the test ends.
type Process struct {
	Name string
	// Foreign marks a program that is not ours, whose status at the end is its own business.
	Foreign bool

	command *exec.Cmd
	ended   chan struct{}
	log     log
	// killed tells that the test itself took the process down, so that its status says nothing.
	killed bool
}

// log collects what a process writes; safe for concurrent use.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Run starts a program, in a network namespace if one is named, and ends it with the test.
func Run(t testing.TB, namespace, binary string, arguments ...string) *Process {
	t.Helper()
	p := &Process{Name: filepath.Base(binary), ended: make(chan struct{})}
	binary, arguments = Inside(namespace, binary, arguments)
	p.command = exec.Command(binary, arguments...)
	p.command.Stdout, p.command.Stderr = &p.log, &p.log
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.command.Wait() // The status is read from ProcessState.
	}()
	t.Cleanup(func() {
		p.Stop(t)
		if t.Failed() {
			t.Logf("%s said:\n%s", p.Name, tail(p.Log(), 60))
		}
	})
	return p
}

// Inside puts a command line into a network namespace made by `ip netns add`, if one is named. It needs no mounts of its own, so it works in a container or chroot too.
func Inside(namespace, binary string, arguments []string) (string, []string) {
	if namespace == "" {
		return binary, arguments
	}
	return "nsenter", append([]string{"--net=/run/netns/" + namespace, binary}, arguments...)
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// PID gives the process id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Log gives what the process has written so far.
func (p *Process) Log() string { return p.log.String() }

// Ended tells whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Freeze stops the process with SIGSTOP and waits until all of its threads stand still: a moment after the signal some may still be at work. It goes on when the test ends.
func (p *Process) Freeze(t testing.TB) {
	t.Helper()
	if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(p.PID(), syscall.SIGCONT) })
	Eventually(t, stopLimit, p.Name+" stands still", func() error {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.PID()))
		if err != nil {
			return err
		}
		for _, thread := range threads {
			stat, err := os.ReadFile(thread) // proc_pid_stat(5): the state stands behind the name, which is in parentheses
			if err != nil {
				return err
			}
			if i := bytes.LastIndexByte(stat, ')'); len(stat) < i+3 || stat[i+2] != 'T' {
				return fmt.Errorf("%s is at work", thread)
			}
		}
		return nil
	})
}

// Kill ends the process with SIGKILL.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.killed = true
	if err := p.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.ended
}

// KillAll ends the process and all that it started with SIGKILL, as the end of a container does.
func (p *Process) KillAll(t testing.TB) {
	t.Helper()
	p.killed = true
	if err := syscall.Kill(-p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.ended
}

// Stop ends the process with SIGTERM and checks how it ended. Stopping it again does nothing.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	if !p.Ended() {
		_ = p.command.Process.Signal(syscall.SIGTERM) // It may have ended a moment ago.
	}
	select {
	case <-p.ended:
	case <-time.After(stopLimit):
		t.Errorf("%s did not end within %s of SIGTERM", p.Name, stopLimit)
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
		<-p.ended
	}
	if code := p.command.ProcessState.ExitCode(); code != 0 && !p.killed && !p.Foreign {
		t.Errorf("%s ended with %s", p.Name, p.command.ProcessState)
	}
	for _, trouble := range []string{"panic:", "panicked", "WARNING: DATA RACE", "fatal error:"} {
		if strings.Contains(p.Log(), trouble) {
			t.Errorf("%s wrote %q:\n%s", p.Name, trouble, tail(p.Log(), 100))
		}
	}
	p.killed = true // Reported once.
}
