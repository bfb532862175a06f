// Package wiretest is for benchmarks of the transport: the codec that copies payloads, to compare with, and processes beside the one that is measured.
package wiretest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec that Plain is
	"google.golang.org/grpc/mem"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// Plain is gRPC's own codec for protobuf, through which a wire.Request goes as the message that it is: its payload is copied into the message on the way out, and out of it
// on the way in.
type Plain struct{}

// Name implements encoding.CodecV2.
func (Plain) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (p Plain) Marshal(v any) (mem.BufferSlice, error) {
	r, ok := v.(*wire.Request)
	if !ok {
		return encoding.GetCodecV2(p.Name()).Marshal(v)
	}
	r.Message.GetFrame().Payload = r.Payload.Whole()
	data, err := encoding.GetCodecV2(p.Name()).Marshal(r.Message)
	r.Free()
	if r.Written != nil {
		r.Written()
	}
	return data, err
}

// Unmarshal implements encoding.CodecV2.
func (p Plain) Unmarshal(data mem.BufferSlice, v any) error {
	r, ok := v.(*wire.Request)
	if !ok {
		return encoding.GetCodecV2(p.Name()).Unmarshal(data, v)
	}
	r.Message = &sluicev1.StreamRequest{}
	if err := encoding.GetCodecV2(p.Name()).Unmarshal(data, r.Message); err != nil {
		return err
	}
	if frame := r.Message.GetFrame(); frame != nil {
		r.Payload, frame.Payload = media.Payload{frame.GetPayload()}, nil
	}
	return nil
}

// Codecs are those to compare, nil standing for the one in use, with the connections that belong to it.
func Codecs() []struct {
	Name  string
	Codec encoding.CodecV2
} {
	return []struct {
		Name  string
		Codec encoding.CodecV2
	}{{"copied", Plain{}}, {"shared", nil}}
}

// CPU gives the processor time, in the program and in the kernel, that this process has used.
func CPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// peerVariable names the peer that a process is to be.
const peerVariable = "SLUICE_BENCH_PEER"

// Play makes this process a peer, if Start has started it as one: it calls the peer of that name and tells that there is nothing else to do. TestMain calls it first.
// A peer ends when its input does, and writes a line to its output when it is ready.
func Play(peers map[string]func(in *bufio.Reader, out io.Writer) error) bool {
	peer := peers[os.Getenv(peerVariable)]
	if peer == nil {
		return false
	}
	if err := peer(bufio.NewReader(os.Stdin), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
	return true
}

// Start starts a peer, a process of this test binary, which reads the line given. It gives the first line that the peer writes, and what ends it.
func Start(b *testing.B, peer, line string) (answer string, stop func()) {
	b.Helper()
	cmd := exec.Command(os.Args[0]) //nolint:gosec // this very program
	cmd.Env = append(os.Environ(), peerVariable+"="+peer)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	stop = func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			b.Errorf("peer %s: %v", peer, err)
		}
	}
	if _, err := fmt.Fprintln(in, line); err != nil {
		b.Error(err)
	}
	answer, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Errorf("peer %s: %v", peer, err)
	}
	return strings.TrimSpace(answer), stop
}

// Report adds the processor time for a thousand frames to a benchmark's figures.
func Report(b *testing.B, spent time.Duration) {
	b.Helper()
	b.ReportMetric(spent.Seconds()*1000/float64(b.N)*1000, "cpu-ms/1000-frames")
}
