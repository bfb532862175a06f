//go:build cgo && linux && (amd64 || arm64)

package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-dev/sluice/services/edge/internal/codec"
	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
	"github.com/sluice-dev/sluice/services/edge/internal/sandbox"
)

// The descriptors that the edge passes on.
const (
	socketFD = 3
	memoryFD = 4
)

// run sets everything up, enters the sandbox, says so, and serves until the edge's end of the socket closes.
func run(s settings) error {
	engine, err := prepare(s)
	if err != nil {
		return err
	}
	stands, err := enter(s)
	if err != nil {
		return err
	}
	if _, err := unix.Write(socketFD, stands.Append(nil)); err != nil {
		return fmt.Errorf("greeting the edge: %w", err)
	}
	return serve(engine, s.layout)
}

// prepare maps the shared memory, for as long as the process lives, and loads all that decoding needs.
func prepare(s settings) (*codec.Engine, error) {
	memory, err := unix.Mmap(memoryFD, 0, s.layout.Size(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping the shared memory: %w", err)
	}
	if err := unix.Close(memoryFD); err != nil {
		return nil, fmt.Errorf("closing the shared memory's descriptor: %w", err)
	}
	return codec.New(s.layout, memory, s.pixels)
}

// enter starts what must be started outside and enters the sandbox.
func enter(s settings) (ipc.Hello, error) {
	// The runtime makes its poller with the first timer, which in the sandbox would be too late.
	<-time.After(time.Nanosecond)
	go exitWithEdge()
	return sandbox.Enter(s.sandbox, s.memory)
}

// exitWithEdge ends the process when the edge's end of the socket closes, also while C code runs and never returns. It asks for no event,
// so that requests do not wake it; a hang-up is reported unasked.
func exitWithEdge() {
	for {
		watched := []unix.PollFd{{Fd: socketFD}}
		if _, err := unix.Poll(watched, -1); err != nil && !errors.Is(err, unix.EINTR) {
			os.Exit(1)
		}
		if watched[0].Revents != 0 {
			os.Exit(0)
		}
	}
}

// serve answers requests, one at a time. A request that it does not understand means that edge and decoder differ: it gives up.
func serve(engine *codec.Engine, layout ipc.Layout) error {
	var in, out [ipc.MaxMessage]byte
	a := answerer{engine: engine, layout: layout}
	for {
		n, err := unix.Read(socketFD, in[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("reading a request: %w", err)
		case n == 0:
			return nil
		}
		answer, err := a.answer(in[:n], out[:0])
		if err != nil {
			return fmt.Errorf("reading a request: %w", err)
		}
		if _, err := unix.Write(socketFD, answer); err != nil {
			return fmt.Errorf("writing a reply: %w", err)
		}
	}
}

// answerer holds the messages, so that none is allocated.
type answerer struct {
	engine       *codec.Engine
	layout       ipc.Layout
	request      ipc.Request
	reply        ipc.Reply
	soundRequest ipc.SoundRequest
	soundReply   ipc.SoundReply
}

// answer does what a request's message asks for and appends the reply's to out.
func (a *answerer) answer(message, out []byte) ([]byte, error) {
	if ipc.OpOf(message).Sound() {
		if err := a.soundRequest.Parse(message, a.layout); err != nil {
			return nil, err
		}
		a.engine.Sound(&a.soundRequest, &a.soundReply)
		return a.soundReply.Append(out), nil
	}
	if err := a.request.Parse(message, a.layout); err != nil {
		return nil, err
	}
	if a.request.Op == ipc.Forget {
		a.engine.Forget(a.request.Stream)
		a.reply = ipc.Reply{Status: ipc.OK, Stream: a.request.Stream, Tag: a.request.Tag, Pictures: a.reply.Pictures[:0]}
	} else {
		a.engine.Decode(&a.request, &a.reply)
	}
	return a.reply.Append(out), nil
}
