//go:build cgo && linux && (amd64 || arm64)

// Command sluice-decoder decodes and converts pictures and sound for one session of sluice-edge, which alone starts it: untrusted bytes
// meet C code here and nowhere else. It inherits a socket and a block of shared memory, shuts itself in, and answers requests until the
// socket closes. See package ipc for what the two say to each other and package sandbox for the walls.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/sluice-dev/sluice/services/edge/internal/ipc"
)

func main() {
	settings, err := parse(os.Args[1:])
	if err == nil {
		err = run(settings)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sluice-decoder:", err)
		os.Exit(1)
	}
}

// settings are what the edge says on the command line.
type settings struct {
	sandbox ipc.Sandbox
	memory  int64
	pixels  int
	layout  ipc.Layout
}

func parse(arguments []string) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("sluice-decoder", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.TextVar(&s.sandbox, "sandbox", ipc.Required, "required, best-effort or off")
	flags.Int64Var(&s.memory, "memory", 0, "bytes that decoding may take")
	flags.IntVar(&s.pixels, "pixels", 0, "pixels of the largest picture")
	flags.IntVar(&s.layout.Unit, "unit", 0, "bytes of the largest unit")
	flags.IntVar(&s.layout.Slots, "slots", 0, "number of payloads")
	flags.IntVar(&s.layout.SlotBytes, "slot-bytes", 0, "bytes of the largest payload")
	if err := flags.Parse(arguments); err != nil {
		return s, fmt.Errorf("%w (this program is started by sluice-edge, not by hand)", err)
	}
	if flags.NArg() > 0 || s.memory <= 0 || s.pixels <= 0 {
		return s, errors.New("this program is started by sluice-edge, not by hand")
	}
	return s, s.layout.Check()
}
