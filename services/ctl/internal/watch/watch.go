// Package watch follows outcomes as a service finalises them.
package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/ctl/internal/service"
)

// Config says what to follow; empty selections follow everything.
type Config struct {
	// Address is the gRPC address of an edge or a router.
	Address                string
	Session, Stream, Model string
	// Limit ends the watch after so many outcomes; 0 never does.
	Limit uint32
	// JSON writes the contract's JSON instead of lines for people.
	JSON bool
	Out  io.Writer
}

// Run writes outcomes until ctx ends or the limit is reached.
func Run(ctx context.Context, cfg Config) error {
	inspection, err := service.Connect(cfg.Address)
	if err != nil {
		return err
	}
	defer inspection.Close()
	request := &sluicev1.WatchOutcomesRequest{}
	setIfGiven(&request.Session, cfg.Session)
	setIfGiven(&request.Stream, cfg.Stream)
	setIfGiven(&request.Model, cfg.Model)
	if cfg.Limit > 0 {
		request.Limit = new(cfg.Limit)
	}
	stream, err := inspection.WatchOutcomes(ctx, request)
	if err != nil {
		return inspection.Explain(err)
	}
	for {
		m, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF), ctx.Err() != nil:
			return nil
		case err != nil:
			return inspection.Explain(err)
		}
		if err := write(cfg, m); err != nil {
			return err
		}
	}
}

func setIfGiven(field **string, text string) {
	if text != "" {
		*field = new(text)
	}
}

func write(cfg Config, m *sluicev1.WatchOutcomesResponse) error {
	if cfg.JSON {
		b, err := wire.JSON(m)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cfg.Out, "%s\n", b)
		return err
	}
	if n := m.GetSkipped(); n > 0 {
		if _, err := fmt.Fprintf(cfg.Out, "… %d outcomes lost: this watcher is too slow\n", n); err != nil {
			return err
		}
	}
	o := m.GetOutcome()
	_, err := fmt.Fprintf(cfg.Out, "%s  %-26s %-12s #%-6d %-10s %s\n",
		time.Now().Format("15:04:05.000"), o.GetSession(), o.GetStream(), o.GetSequence(), o.GetModel(), describe(o))
	return err
}

func describe(o *sluicev1.Outcome) string {
	switch end := o.GetEnd().(type) {
	case *sluicev1.Outcome_Drop:
		return "drop   " + end.Drop.GetReason().String()
	case *sluicev1.Outcome_Error:
		return "error  " + end.Error.GetCode().String()
	case *sluicev1.Outcome_Result:
		text := fmt.Sprintf("result batch %d", o.GetBatchSize())
		if n := len(end.Result.GetDetections()); n > 0 {
			best := end.Result.GetDetections()[0]
			text += fmt.Sprintf(", %d found, best %s %.2f", n, best.GetLabel(), best.GetScore())
		}
		if t := o.GetTimings().GetTotal(); t > 0 {
			text += fmt.Sprintf(", %.1f ms", t*1000)
		}
		return text
	}
	return "?"
}
