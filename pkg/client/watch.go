package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// Selection says which outcomes are watched. An empty field selects all.
type Selection struct {
	Session, Stream, Model string
}

// Watched is an outcome as it became final.
type Watched struct {
	Outcome *sluicev1.Outcome
	// Skipped counts the outcomes that were lost right before this one because the watcher was slow.
	Skipped uint32
	// Reconnected tells that the call was made anew right before this outcome. What became final meanwhile is lost, and nobody knows how many those were: where each outcome matters,
	// follow the sessions, which can be resumed.
	Reconnected bool
}

// Watch gives the outcomes of all sessions of an edge or a router, as they become final. It needs a connection to the service's gRPC address. The iteration ends with an error, which
// comes last and alone, when ctx ends; when the service refuses (too many watchers, no right to); and when it was not to be reached for a minute.
func Watch(ctx context.Context, service grpc.ClientConnInterface, of Selection) iter.Seq2[Watched, error] {
	return func(yield func(Watched, error) bool) {
		var away outage
		for stood := false; ; {
			w := watching{again: stood, yield: yield}
			err := w.run(ctx, sluicev1.NewInspectServiceClient(service), of)
			switch {
			case w.done:
				return
			case ctx.Err() != nil:
				yield(Watched{}, ctx.Err())
				return
			case !isPassing(err):
				yield(Watched{}, fmt.Errorf("watch outcomes: %w", err))
				return
			case w.opened:
				stood = true
				away.over()
			}
			if err := away.wait(ctx, fmt.Errorf("watch outcomes: %w", err), 0); err != nil {
				yield(Watched{}, err)
				return
			}
		}
	}
}

// isPassing tells whether the next call may fare better: the service could not be reached, or it stopped.
func isPassing(err error) bool {
	return errors.Is(err, io.EOF) || status.Code(err) == codes.Unavailable
}

// watching is one call.
type watching struct {
	// again tells that a call before this one stood and broke off, of which the loop has not been told.
	again bool
	yield func(Watched, error) bool

	// opened tells that the service took the call, done that the loop wants no more.
	opened, done bool
}

// run gives on what the service sends. The error says why the call ended, unless w.done.
func (w *watching) run(ctx context.Context, service sluicev1.InspectServiceClient, of Selection) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	request := &sluicev1.WatchOutcomesRequest{Session: given(of.Session), Stream: given(of.Stream), Model: given(of.Model)}
	call, err := service.WatchOutcomes(ctx, request)
	if err != nil {
		return err
	}
	// The service sends headers as soon as the watch stands.
	if header, err := call.Header(); err == nil && header != nil {
		w.opened = true
	}
	for {
		m, err := call.Recv()
		if err != nil {
			return err
		}
		if !w.yield(Watched{Outcome: m.GetOutcome(), Skipped: m.GetSkipped(), Reconnected: w.again}, nil) {
			w.done = true
			return nil
		}
		w.again = false
	}
}

func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
