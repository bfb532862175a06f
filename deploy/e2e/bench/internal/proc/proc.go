// Package proc runs the programs that a benchmark measures, and reads what the kernel says about them.
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// stopLimit bounds how long a program may take to end after SIGTERM.
	stopLimit = 15 * time.Second
	// keptLog is how much of what a program writes is kept: its end is what explains a failure.
	keptLog = 64 << 10
)

// Process is a program that runs until it is stopped. It is safe for concurrent use.
type Process struct {
	name    string
	command *exec.Cmd
	ended   chan struct{}
	log     tail
	stopped sync.Once
	failure error // valid once stopped is done
}

// Options say what to run.
type Options struct {
	Path      string
	Arguments []string
	// Environment is added to the benchmark's own.
	Environment []string
	// Stdin and Stdout are the program's; nil means nothing, and the log.
	Stdin  io.Reader
	Stdout io.Writer
}

// Start runs a program in a process group of its own. It must be stopped.
func Start(o Options) (*Process, error) {
	p := &Process{name: filepath.Base(o.Path), ended: make(chan struct{})}
	p.command = exec.Command(o.Path, o.Arguments...)
	p.command.Env = append(os.Environ(), o.Environment...)
	p.command.Stdin = o.Stdin
	p.command.Stdout, p.command.Stderr = &p.log, &p.log
	if o.Stdout != nil {
		p.command.Stdout = o.Stdout
	}
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	go func() { // joined by Stop
		defer close(p.ended)
		_ = p.command.Wait() // the status is read from ProcessState
	}()
	return p, nil
}

// PID gives the process id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Log gives the end of what the program has written so far.
func (p *Process) Log() string { return p.log.String() }

// Ended is closed when the program has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Stop ends the program with SIGTERM and waits for it; after fifteen seconds it is killed. The error tells of a program that did not end well, with its last words. Stopping it
// again gives the same.
func (p *Process) Stop() error {
	p.stopped.Do(func() { p.failure = p.stop() })
	return p.failure
}

func (p *Process) stop() error {
	_ = p.command.Process.Signal(syscall.SIGTERM) // it may have ended a moment ago
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-p.ended:
	case <-limit.C:
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
		<-p.ended
		return fmt.Errorf("%s did not end within %s of SIGTERM", p.name, stopLimit)
	}
	state := p.command.ProcessState
	status, _ := state.Sys().(syscall.WaitStatus)
	if state.Success() || status.Signaled() && status.Signal() == syscall.SIGTERM {
		return nil
	}
	return fmt.Errorf("%s ended with %s:\n%s", p.name, state, p.Log())
}

// Kill ends the program at once and waits for it. How it ends is then nobody's fault.
func (p *Process) Kill() {
	p.stopped.Do(func() {
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL) // it may have ended
		<-p.ended
	})
}

// Await calls ready until it returns nil, for at most limit. It gives up when the program ends or ctx does.
func (p *Process) Await(ctx context.Context, limit time.Duration, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended before it was ready:\n%s", p.name, p.Log())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s is not ready within %s:\n%s", p.name, limit, p.Log()), err)
		case <-tick.C:
		}
	}
}

// tail keeps the end of what is written to it. It is safe for concurrent use.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b.Write(p)
	if over := t.b.Len() - keptLog; over > 0 {
		t.b.Next(over)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.b.String())
}
