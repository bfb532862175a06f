// Command oipstub is a model server of the Open Inference Protocol v2 (gRPC) for benchmarks and fault tests. It sleeps α + β·b for a batch of b frames and echoes what each frame
// begins with; faults come on demand.
//
//	go build -o .build/oipstub ./deploy/e2e/bench/oipstub
//	.build/oipstub -alpha 20ms -beta 4ms -max 32
//
// It listens on free ports of the loopback address, or on those that -listen and -control name, so that one that was killed can come back in its place. When it is ready it prints one line
// of JSON to standard output, {"grpc":"127.0.0.1:40001","control":"http://127.0.0.1:40002"}, and nothing else. A router calls it as
//
//	backend: {oip: {targets: ["127.0.0.1:40001"], model: stub}}
//	input: {kind: tensor, dtype: UINT8, shape: [64]}
//	output: {decoder: tensors}
//	batch: {max: 32}
//
// or, with -shape 180,320,3, as one of pictures: input: {width: 320, height: 180, layout: NHWC, dtype: UINT8}.
//
// Faults: SIGKILL and SIGSTOP from outside, and by HTTP, as in
//
//	curl -X POST 'http://127.0.0.1:40002/slow?factor=10'    # ten times slower; 1 is well again
//	curl -X POST 'http://127.0.0.1:40002/fail?code=14'      # every request is answered at once with UNAVAILABLE; 0 is well again
//	curl -X POST 'http://127.0.0.1:40002/hang?on=true'      # answers are kept back until on=false
//	curl -X POST 'http://127.0.0.1:40002/ready?on=false'    # not ready, but answers
//	curl -X POST 'http://127.0.0.1:40002/kill'              # SIGKILL to itself
//	curl 'http://127.0.0.1:40002/journal'                   # every batch that ran: size, times, the first eight bytes of its frames; POST /forget empties it
//
// Each answer says in its parameter compute_ns what the batch took. With -batcher triton requests are batched by Triton's documented rules.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/stub"
	"github.com/sluice-dev/sluice/proto/gen/inference"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "oipstub:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	listen, control    string
	batcher, preferred string
	shape              string
	stub               stub.Config
	triton             stub.TritonRules
}

func parse(arguments []string) (o options, err error) {
	flags := flag.NewFlagSet("oipstub", flag.ContinueOnError)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "`address` for gRPC")
	flags.StringVar(&o.control, "control", "127.0.0.1:0", "`address` of the remote control, HTTP")
	flags.StringVar(&o.stub.Model, "model", "stub", "`name` of the model")
	flags.IntVar(&o.stub.Width, "width", 64, "`bytes` of a frame")
	flags.StringVar(&o.shape, "shape", "", "`extents` of a frame, such as 180,320,3 for pictures, instead of -width")
	flags.IntVar(&o.stub.Echo, "echo", 8, "`bytes` of an answer, the frame's first")
	flags.DurationVar(&o.stub.Profile.Alpha, "alpha", 20*time.Millisecond, "`time` of a batch, whatever its size")
	flags.DurationVar(&o.stub.Profile.Beta, "beta", 4*time.Millisecond, "`time` of each frame in it")
	flags.Uint64Var(&o.stub.Seed, "seed", 1, "`seed` of the noise")
	flags.IntVar(&o.stub.Max, "max", 32, "largest `batch`")
	flags.IntVar(&o.stub.Instances, "instances", 1, "`batches` that run at once")
	flags.StringVar(&o.batcher, "batcher", "none", "`rules` by which requests are batched: none (each is a batch) or triton")
	flags.StringVar(&o.preferred, "preferred", "", "triton: preferred batch `sizes`, such as 4,8")
	flags.DurationVar(&o.triton.Delay, "delay", 0, "triton: max_queue_delay")
	flags.DurationVar(&o.triton.Timeout, "timeout", 0, "triton: default_timeout, with REJECT; 0 is none")
	flags.IntVar(&o.triton.MaxQueue, "queue", 0, "triton: max_queue_size; 0 is no limit")
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q: there are flags only", flags.Args())
	}
	if o.shape != "" {
		extents, err := sizes(o.shape, 1<<20)
		if err != nil {
			return o, fmt.Errorf("-shape: %w", err)
		}
		o.stub.Width = 1
		for _, extent := range extents {
			o.stub.Width *= extent
			o.stub.Shape = append(o.stub.Shape, int64(extent))
		}
	}
	switch o.batcher {
	case "none":
		return o, nil
	case "triton":
	default:
		return o, fmt.Errorf("-batcher: %q is neither none nor triton", o.batcher)
	}
	o.triton.Max = o.stub.Max
	if o.triton.Preferred, err = sizes(o.preferred, o.stub.Max); err != nil {
		return o, fmt.Errorf("-preferred: %w", err)
	}
	o.stub.Triton = &o.triton
	return o, nil
}

// sizes reads a list such as 4,8; an empty text has none.
func sizes(list string, most int) (all []int, err error) {
	for text := range strings.SplitSeq(list, ",") {
		if text == "" {
			continue
		}
		size, err := strconv.Atoi(text)
		if err != nil || size < 1 || size > most {
			return nil, fmt.Errorf("%q is no size from 1 to %d", text, most)
		}
		all = append(all, size)
	}
	return all, nil
}

func run(ctx context.Context, arguments []string, ready io.Writer) error {
	o, err := parse(arguments)
	if err != nil {
		return err
	}
	o.stub.Sleep = sleep
	server, err := stub.New(o.stub)
	if err != nil {
		return err
	}
	calls, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	defer func() { _ = calls.Close() }()
	control, err := net.Listen("tcp", o.control)
	if err != nil {
		return fmt.Errorf("-control: %w", err)
	}
	defer func() { _ = control.Close() }()
	if err := json.NewEncoder(ready).Encode(map[string]string{"grpc": calls.Addr().String(), "control": "http://" + control.Addr().String()}); err != nil {
		return err
	}
	return serve(ctx, server, calls, control)
}

// serve answers until ctx ends.
func serve(ctx context.Context, server *stub.Server, calls, control net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	rpc := grpc.NewServer()
	inference.RegisterGRPCInferenceServiceServer(rpc, server)
	web := &http.Server{Handler: server.Control(kill), ReadHeaderTimeout: 5 * time.Second}
	var running sync.WaitGroup
	var served, controlled error
	running.Go(func() { server.Run(ctx) })
	running.Go(func() {
		defer cancel()
		served = rpc.Serve(calls)
	})
	running.Go(func() {
		defer cancel()
		if err := web.Serve(control); !errors.Is(err, http.ErrServerClosed) {
			controlled = err
		}
	})
	<-ctx.Done()
	rpc.Stop()
	_ = web.Close()
	cancel()
	running.Wait()
	return errors.Join(served, controlled)
}

func kill() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }

// sleep waits by the kernel's clock: Go's timers are up to a millisecond late when nothing else runs.
func sleep(until time.Time) {
	for left := time.Until(until); left > 0; left = time.Until(until) {
		t := unix.NsecToTimespec(left.Nanoseconds())
		_ = unix.Nanosleep(&t, nil) // a signal ends it early
	}
}
