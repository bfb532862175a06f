package contest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/batch"
	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/stub"
)

// policy is who decides which frames go to the model together. Those other than fresh are written from the documentation of what they stand for.
type policy string

const (
	// fresh is sluice-router.
	fresh policy = "fresh"
	// fixed closes batches by a size and a delay, the best that the simulator found for the very load.
	fixed policy = "fixed"
	// gated has one request of each stream under way, with Triton's rules by default behind it.
	gated policy = "gate"
	// tritonDefault and tritonTuned send every frame at once to a server with Triton's rules: the default ones, and the best that the simulator found for the model over all loads.
	tritonDefault policy = "Triton rules, default"
	tritonTuned   policy = "Triton rules, tuned"
)

func policies(e Extent) []policy {
	if e == Smoke {
		return []policy{fresh}
	}
	return []policy{fresh, fixed, gated, tritonDefault, tritonTuned}
}

// width is the bytes of a frame: so few that moving them costs nothing.
const width = 64

func frameModel() batch.Model {
	return batch.Model{Name: "stub", Width: width, Input: stub.Input, Output: stub.Output}
}

// bench is what one run runs on: a model server, and the router where it is the policy.
type bench struct {
	server *modelServer
	router *router
}

// setUp starts what a policy needs in a regime. It must be stopped.
func setUp(ctx context.Context, root string, p policy, r regime, dilation float64, seed uint64) (_ *bench, err error) {
	profile := r.profile(dilation)
	flags := append(serverFlags(profile, r.instances, seed), batcherFlags(p, r, dilation)...)
	b := &bench{}
	if b.server, err = startServer(ctx, root, flags...); err != nil {
		return nil, err
	}
	if p != fresh {
		return b, nil
	}
	if b.router, err = startRouter(ctx, root, profile, r.instances, b.server.address); err != nil {
		return nil, errors.Join(err, b.server.Stop())
	}
	if err := b.server.forget(ctx); err != nil { // the router's trials
		return nil, errors.Join(err, b.stop())
	}
	return b, nil
}

func (b *bench) stop() error {
	var err error
	if b.router != nil {
		err = b.router.stop()
	}
	return errors.Join(err, b.server.Stop())
}

func serverFlags(p Profile, instances int, seed uint64) []string {
	return []string{
		"-alpha", p.Alpha.String(), "-beta", p.Beta.String(), "-max", strconv.Itoa(p.Max), "-width", strconv.Itoa(width),
		"-instances", strconv.Itoa(instances), "-seed", strconv.FormatUint(seed, 10),
	}
}

func batcherFlags(p policy, r regime, dilation float64) []string {
	rules := stub.TritonRules{Max: maxBatch}
	switch p {
	case fresh, fixed:
		return nil
	case tritonTuned:
		rules = r.model.triton
	case gated, tritonDefault:
	case realDefault, realTuned, realTrial: // see triton.go
	}
	return []string{
		"-batcher", "triton", "-max", strconv.Itoa(rules.Max), "-delay", stretch(rules.Delay, dilation).String(), "-timeout", stretch(rules.Timeout, dilation).String(),
	}
}

// open opens the path of a policy.
func (b *bench) open(ctx context.Context, p policy, r regime, dilation float64, streams int) (batch.Path, error) {
	switch p {
	case fresh:
		return batch.OpenRouter(ctx, b.router.address, frameModel(), streams, stretch(slo, dilation))
	case fixed:
		rules, known := r.model.fixed[r.load]
		if !known {
			return nil, fmt.Errorf("the simulator has no size and delay for a load of %g", r.load)
		}
		rules.Delay = stretch(rules.Delay, dilation)
		return batch.OpenFixed(ctx, b.server.address, frameModel(), rules, r.instances)
	case gated:
		return batch.OpenGate(ctx, b.server.address, frameModel(), streams)
	case tritonDefault, tritonTuned:
		return batch.OpenServer(ctx, b.server.address, frameModel())
	case realDefault, realTuned, realTrial: // see triton.go
	}
	return nil, fmt.Errorf("no policy %q", p)
}

// settings says what a policy was set to, undilated.
func settings(p policy, r regime) string {
	switch p {
	case fixed:
		return fmt.Sprintf("%d frames or %s", r.model.fixed[r.load].Size, r.model.fixed[r.load].Delay)
	case tritonTuned:
		t := r.model.triton
		return fmt.Sprintf("at most %d, delay %s, timeout %s", t.Max, t.Delay, t.Timeout)
	default:
		return ""
	}
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
