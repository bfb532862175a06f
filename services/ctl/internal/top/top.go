// Package top shows how busy the sessions of an edge or a router are: once, as lines of JSON, or as a table that lives in a terminal.
package top

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

// patience is how long a service may take to answer one question.
const patience = 10 * time.Second

// Config says what to show and how.
type Config struct {
	// Address is the gRPC address of an edge or a router.
	Address string
	// Every is the time between two looks.
	Every time.Duration
	// Sort names the column to begin with; see Columns.
	Sort string
	// Once shows one look and ends.
	Once bool
	// JSON writes each look as a line of the contract's JSON, a ListSessionsResponse.
	JSON bool
	Out  io.Writer
	// Terminal tells that Out is a terminal, In the keys that are pressed at it.
	Terminal bool
	In       io.Reader
}

var errNoTerminal = errors.New("standard output is no terminal: add --once for one table or --json for lines")

// Run shows the sessions until ctx ends or the user quits, or once.
func Run(ctx context.Context, cfg Config) error {
	by, err := columnNamed(cfg.Sort)
	if err != nil {
		return err
	}
	if cfg.Every < 100*time.Millisecond {
		return errors.New("--every must be 100ms or more")
	}
	inspection, err := service.Connect(cfg.Address)
	if err != nil {
		return err
	}
	defer inspection.Close()
	look := func(ctx context.Context) (*sluicev1.ListSessionsResponse, error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		m, err := inspection.ListSessions(ctx, &sluicev1.ListSessionsRequest{})
		if err != nil {
			return nil, inspection.Explain(err)
		}
		return m, nil
	}
	switch {
	case cfg.JSON:
		return lines(ctx, cfg, look)
	case cfg.Once:
		m, err := look(ctx)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cfg.Out, render(rowsOf(m, time.Now()), order{by: by}, 0))
		return err
	case !cfg.Terminal:
		return errNoTerminal
	default:
		return live(ctx, cfg, look, by)
	}
}

// lines writes a line of JSON for each look.
func lines(ctx context.Context, cfg Config, look func(context.Context) (*sluicev1.ListSessionsResponse, error)) error {
	tick := time.NewTicker(cfg.Every)
	defer tick.Stop()
	for {
		m, err := look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := wire.JSON(m)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(cfg.Out, "%s\n", b); err != nil || cfg.Once {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
