package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-dev/sluice/services/ctl/internal/explain"
	"github.com/sluice-dev/sluice/services/ctl/internal/top"
)

// edgeGRPC is where an edge's inspection is unless it is configured otherwise.
const edgeGRPC = "127.0.0.1:50052"

func topCommand(out io.Writer) *cobra.Command {
	cfg := top.Config{Out: out, In: os.Stdin}
	command := &cobra.Command{
		Use:   "top [ADDRESS]",
		Short: "See how busy the sessions of an edge or a router are",
		Long: `Shows, for each session, stream and model at ADDRESS, the gRPC address of an edge (127.0.0.1:50052 unless given) or of a router (127.0.0.1:50051 by
default), what happens a second, how long ago the last result was, and how long results take. Rates are those of the last ten seconds; p50 and p95 are of
the last 128 results, on an edge from the arrival of the unit, on a router from that of the frame. The keys below the table sort it.`,
		Example: `  sluicectl top
  sluicectl top 127.0.0.1:50051 --sort p95
  sluicectl top --once
  sluicectl top --json --every 10s >> activity.jsonl`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			cfg.Address = address(args)
			f, ok := out.(*os.File)
			cfg.Terminal = ok && isTerminal(f)
			return top.Run(command.Context(), cfg)
		},
	}
	flags := command.Flags()
	flags.DurationVar(&cfg.Every, "every", time.Second, "time between two looks")
	flags.StringVar(&cfg.Sort, "sort", "", "column to sort by: "+strings.Join(top.Columns(), ", ")+" (default: oldest session first)")
	flags.BoolVar(&cfg.Once, "once", false, "show one look and end")
	flags.BoolVar(&cfg.JSON, "json", false, "write each look as a line of JSON")
	return command
}

func explainCommand(out io.Writer) *cobra.Command {
	cfg := explain.Config{Out: out}
	command := &cobra.Command{
		Use:   "explain SESSION STREAM SEQUENCE",
		Short: "Show one unit's way, stage by stage, and why it ended as it did",
		Long: `Shows, for each model that the unit was due for, what became of it and why, what to do about it, where its time went, and who was handed the outcome.
An edge knows the last 512 units of a stream, until 60 s after its end. Outcomes name the session, the stream and the sequence.`,
		Example: `  sluicectl explain 4jq2m camera 1042
  sluicectl explain 4jq2m camera 1042 --edge edge-1:50052 --json`,
		Args: cobra.ExactArgs(3),
		RunE: func(command *cobra.Command, args []string) error {
			sequence, err := strconv.ParseUint(args[2], 10, 32)
			if err != nil || sequence == 0 {
				return fmt.Errorf("%q is no sequence: outcomes name it, from 1", args[2])
			}
			if args[0] == "" || args[1] == "" {
				return errors.New("the session and the stream must not be empty")
			}
			cfg.Session, cfg.Stream, cfg.Sequence = args[0], args[1], uint32(sequence)
			return explain.Run(command.Context(), cfg)
		},
	}
	flags := command.Flags()
	flags.StringVar(&cfg.Address, "edge", edgeGRPC, "gRPC address of the edge that has the session")
	flags.BoolVar(&cfg.JSON, "json", false, "write the contract's JSON")
	return command
}

// address gives the address that a command line names, or that of an edge on this machine.
func address(args []string) string {
	if len(args) == 1 {
		return args[0]
	}
	return edgeGRPC
}
