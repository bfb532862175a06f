package contest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/stub"
	"github.com/sluice-dev/sluice/proto/gen/inference"
)

// calibrate measures the l(b) of a model server of its own.
func calibrate(ctx context.Context, root string, p Profile, rounds int) (_ Profile, err error) {
	server, err := startServer(ctx, root, serverFlags(p, 1, 1)...)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	return calibrateAt(ctx, server.address, p, rounds)
}

// calibrateAt measures l(b), with what gRPC adds to it: batches of every size, each sent so early that it is there when the one before ends. The line through them is what the upper bound is
// computed from.
func calibrateAt(ctx context.Context, address string, p Profile, rounds int) (_ Profile, err error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	client := inference.NewGRPCInferenceServiceClient(conn)
	if err := send(ctx, client, 1); err != nil { // the connection
		return p, err
	}
	sizes := []int{p.Max} // which gives the others their lead
	for range rounds {
		for b := range p.Max {
			sizes = append(sizes, b+1)
		}
	}
	took, err := backToBack(ctx, client, sizes)
	if err != nil {
		return p, fmt.Errorf("calibrate: %w", err)
	}
	p.Profile = fit(sizes[1:], took[1:])
	return p, nil
}

// settled is the time after which a batch that was sent has surely begun to run.
const settled = 5 * time.Millisecond

// backToBack sends batches of these sizes, two at a time, and gives the time of each, which begins as the one before ends.
func backToBack(ctx context.Context, client inference.GRPCInferenceServiceClient, sizes []int) ([]time.Duration, error) {
	type answer struct {
		at  time.Time
		err error
	}
	answers := make([]chan answer, len(sizes))
	begin := func(i int) {
		if i >= len(sizes) {
			return
		}
		answers[i] = make(chan answer, 1)
		go func() { // joined below, by its answer
			err := send(ctx, client, sizes[i])
			answers[i] <- answer{time.Now(), err}
		}()
	}
	before := time.Now()
	begin(0)
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(settled):
	}
	var took []time.Duration
	var errs []error
	for i := range sizes {
		begin(i + 1)
		a := <-answers[i]
		errs = append(errs, a.err)
		took = append(took, a.at.Sub(before))
		before = a.at
	}
	return took, errors.Join(errs...)
}

func send(ctx context.Context, client inference.GRPCInferenceServiceClient, frames int) error {
	_, err := client.ModelInfer(ctx, &inference.ModelInferRequest{
		ModelName: "stub", Inputs: []*inference.ModelInferRequest_InferInputTensor{{Name: stub.Input, Datatype: "UINT8", Shape: []int64{int64(frames), width}}},
		RawInputContents: [][]byte{make([]byte, frames*width)},
	})
	return err
}

// fit gives the line of least squares, each batch weighed by how well it is known: noise is in proportion to the time.
func fit(sizes []int, took []time.Duration) stub.Profile {
	var w, wx, wy, wxx, wxy float64
	for i, b := range sizes {
		x, y := float64(b), took[i].Seconds()
		weight := 1 / (y * y)
		w, wx, wy, wxx, wxy = w+weight, wx+weight*x, wy+weight*y, wxx+weight*x*x, wxy+weight*x*y
	}
	beta := (w*wxy - wx*wy) / (w*wxx - wx*wx)
	alpha := (wy - beta*wx) / w
	return stub.Profile{Alpha: time.Duration(alpha * float64(time.Second)), Beta: time.Duration(beta * float64(time.Second))}
}
