package uplink

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

const (
	askEvery     = time.Second
	askAgain     = 250 * time.Millisecond // after a failure
	answerWithin = 2 * time.Second
)

// Catalog is what the routers serve, as last heard. Its slices are shared and must not be changed.
type Catalog struct {
	// Models by name. While no router can be reached, none is Ready.
	Models []media.Model
	// Inputs that the models take; the ids join the two lists and mean nothing else.
	Inputs []media.Input
	// Known is false until a router has answered for the first time.
	Known bool
	// Reachable tells whether a router answered the last time it was asked, which is about once a second.
	Reachable bool
}

// Catalog gives what the routers serve, without asking them.
func (p *Pool) Catalog() Catalog { return *p.catalog.Load() }

// Run keeps the catalog up to date, and the sessions spread over the routers, until ctx ends, and returns nil then. It is called once.
func (p *Pool) Run(ctx context.Context) error {
	client := sluicev1.NewInspectServiceClient(p.catalogConn)
	for first := true; ; first = false {
		pause := askEvery
		resp, err := ask(ctx, client)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // Its context's end is what ends Run.
		case err != nil:
			pause = askAgain
			p.unreachable(err, first)
		default:
			p.learn(resp)
			p.spread(time.Now())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// ask waits for a connection too, so it is answered as soon as a router is back.
func ask(ctx context.Context, client sluicev1.InspectServiceClient) (*sluicev1.ListModelsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return client.ListModels(ctx, &sluicev1.ListModelsRequest{}, grpc.WaitForReady(true))
}

func (p *Pool) learn(resp *sluicev1.ListModelsResponse) {
	before, c := p.Catalog(), Catalog{Known: true, Reachable: true}
	for _, m := range resp.GetInputs() {
		if in, err := wire.InputFromProto(m); err == nil { // the kind of a newer router; its models stay listed
			c.Inputs = append(c.Inputs, in)
		}
	}
	for _, m := range resp.GetModels() {
		model, err := wire.ModelFromProto(m)
		if err != nil {
			p.logger.Warn("a router lists a model that makes no sense", "reason", err)
			continue
		}
		c.Models = append(c.Models, model)
	}
	slices.SortFunc(c.Models, func(a, b media.Model) int { return strings.Compare(a.Name, b.Name) })
	p.catalog.Store(&c)
	if !before.Reachable {
		p.logger.Info("router reachable", "target", p.target, "models", len(c.Models))
	}
}

func (p *Pool) unreachable(reason error, first bool) {
	c := p.Catalog()
	if c.Reachable || first {
		p.logger.Warn("router unreachable; frames are dropped as NO_ROUTER until it is back", "target", p.target, "reason", reason)
	}
	c.Reachable, c.Models = false, slices.Clone(c.Models)
	for i := range c.Models {
		c.Models[i].Ready = false
	}
	p.catalog.Store(&c)
}
