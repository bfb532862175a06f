// Package cli is sluicectl's command line.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-dev/sluice/pkg/serve"
	"github.com/sluice-dev/sluice/services/ctl/internal/clip"
	"github.com/sluice-dev/sluice/services/ctl/internal/publish"
	"github.com/sluice-dev/sluice/services/ctl/internal/watch"
	"github.com/sluice-dev/sluice/services/ctl/internal/whip"
)

// Command builds sluicectl. It writes what scripts read to out, and what people look at meanwhile to screen.
func Command(out, screen io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "sluicectl",
		Short:         "Publish to a Sluice edge and look at what becomes of the frames",
		Version:       serve.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(out)
	root.SetErr(screen)
	root.AddCommand(publishCommand(out, screen), watchCommand(out), topCommand(out), explainCommand(out))
	return root
}

// publication is the command line of publish.
type publication struct {
	cfg            publish.Config
	edges          []string
	token, loss    string
	summary, lines string
	out, screen    io.Writer
}

func publishCommand(out, screen io.Writer) *cobra.Command {
	p := &publication{out: out, screen: screen}
	command := &cobra.Command{
		Use:   "publish FILE…",
		Short: "Send clips as cameras would, and count what comes back",
		Long: `Publishes each FILE over WHIP. Pictures: IVF with VP8, VP9 or AV1 and raw H.264 or H.265 as they are. Sound: Ogg with Opus as it is, without its packets
of silence, and WAV as raw samples over a data channel. Anything else goes through ffmpeg, for its picture. Several streams are several sessions, which
take the files in turn and loop them; with pictures and sounds among the files, each session sends one of both. A table shows each stream's account
while it runs, and where speech was heard; at the end the edge's own counts are in it. gap is the longest time in which no outcome came.

With --reconnect a stream outlives its session: where its edge drains, another session is made before the old one is ended; where its edge is gone,
as soon as that shows. The name of an edge may have several addresses: each request goes to any of them that answers.`,
		Example: `  sluicectl publish clip.ivf --duration 20s
  sluicectl publish clip.h264 --streams 4 --model faces --json -
  sluicectl publish voice.ogg --loss 5% --seed 7
  sluicectl publish clip.ivf --streams 20 --reconnect --edge http://edge-0:8080 --edge http://edge-1:8080 --duration 5m --json -
  sluicectl publish clip.ivf voice.opus --model faces --model speech
  sluicectl publish holiday.mp4 --rate 15 --edge https://edge.example --token "$TOKEN"`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(command *cobra.Command, files []string) error { return p.run(command.Context(), files) },
	}
	flags := command.Flags()
	flags.IntVar(&p.cfg.Streams, "streams", 1, "sessions to publish at once")
	flags.Float64Var(&p.cfg.Rate, "rate", 0, "pictures a second (default: the file's own, or 30)")
	flags.DurationVar(&p.cfg.Duration, "duration", 10*time.Second, "how long to publish; files are looped")
	flags.StringArrayVar(&p.cfg.Models, "model", nil, "model to ask for; may be given again (default: all that take what is sent)")
	flags.StringVar(&p.loss, "loss", "0%", "share of the RTP packets to lose on the way, as 5%")
	flags.Uint64Var(&p.cfg.Seed, "seed", 1, "which packets are lost")
	flags.StringArrayVar(&p.edges, "edge", []string{"http://127.0.0.1:8080"}, "address of an edge; given again, the sessions are spread over all")
	flags.BoolVar(&p.cfg.Reconnect, "reconnect", false, "come back, at the next edge, when an edge asks a session to leave, ends it or falls silent")
	flags.StringVar(&p.token, "token", os.Getenv("SLUICE_TOKEN"), "bearer token (default: $SLUICE_TOKEN)")
	flags.StringVar(&p.summary, "json", "", "write a JSON summary to this file, - for standard output")
	flags.StringVar(&p.lines, "outcomes", "", "write every outcome as a line of JSON to this file")
	flags.Lookup("token").DefValue = ""
	return command
}

// run publishes the files.
func (p *publication) run(ctx context.Context, files []string) (err error) {
	cfg := p.cfg
	for _, edge := range p.edges {
		client, err := whip.NewClient(edge, p.token)
		if err != nil {
			return err
		}
		cfg.Edges = append(cfg.Edges, client)
	}
	if cfg.Streams < 1 || cfg.Streams > 1000 || !(cfg.Rate >= 0 && cfg.Rate <= 240) || cfg.Duration <= 0 {
		return fmt.Errorf("--streams must be 1 to 1000, --rate 0 to 240 and --duration positive")
	}
	if cfg.Loss, err = share(p.loss); err != nil {
		return fmt.Errorf("--loss: %w", err)
	}
	for _, file := range files {
		c, err := clip.Open(ctx, file)
		if err != nil {
			return err
		}
		cfg.Clips = append(cfg.Clips, c)
	}
	if p.lines != "" {
		f, err := os.Create(p.lines)
		if err != nil {
			return fmt.Errorf("--outcomes: %w", err)
		}
		defer func() { _ = f.Close() }()
		cfg.Outcomes = f
	}
	write, err := openSummary(p.out, p.summary)
	if err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	live := &liveTable{w: p.screen}
	cfg.Progress = live.draw
	reports, err := publish.Run(ctx, cfg)
	live.show(reports)
	return errors.Join(err, write(reports))
}

// share reads a percentage of 0 to 100.
func share(text string) (float64, error) {
	number, ok := strings.CutSuffix(text, "%")
	percent, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(percent >= 0 && percent <= 100) {
		return 0, fmt.Errorf("%q is no percentage from 0%% to 100%%", text)
	}
	return percent / 100, nil
}

// openSummary opens what the summary goes to, so that a path that cannot be written shows before anything is published. write must be called.
func openSummary(out io.Writer, to string) (write func([]publish.Report) error, err error) {
	switch to {
	case "":
		return func([]publish.Report) error { return nil }, nil
	case "-":
		return func(reports []publish.Report) error { return publish.WriteJSON(out, reports) }, nil
	}
	f, err := os.Create(to)
	if err != nil {
		return nil, err
	}
	return func(reports []publish.Report) error { return errors.Join(publish.WriteJSON(f, reports), f.Close()) }, nil
}

func watchCommand(out io.Writer) *cobra.Command {
	cfg := watch.Config{Out: out}
	command := &cobra.Command{
		Use:   "watch [ADDRESS]",
		Short: "Follow outcomes as an edge or a router finalises them",
		Long:  `Follows the outcomes at ADDRESS, the gRPC address of an edge (127.0.0.1:50052 unless given) or of a router (127.0.0.1:50051 by default).`,
		Example: `  sluicectl watch
  sluicectl watch 127.0.0.1:50051 --model faces
  sluicectl watch --session 4jq2m --json --limit 20`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			cfg.Address = address(args)
			return watch.Run(command.Context(), cfg)
		},
	}
	flags := command.Flags()
	flags.StringVar(&cfg.Session, "session", "", "only this session")
	flags.StringVar(&cfg.Stream, "stream", "", "only this stream")
	flags.StringVar(&cfg.Model, "model", "", "only this model")
	flags.Uint32Var(&cfg.Limit, "limit", 0, "end after so many outcomes")
	flags.BoolVar(&cfg.JSON, "json", false, "write a line of JSON for each")
	return command
}

// liveTable draws a table over the one before it. While publishing goes on it does so on a terminal only.
type liveTable struct {
	w     io.Writer
	lines int
}

func (l *liveTable) draw(reports []publish.Report) {
	if f, ok := l.w.(*os.File); !ok || !isTerminal(f) {
		return
	}
	l.show(reports)
}

func (l *liveTable) show(reports []publish.Report) {
	text := publish.Table(reports)
	if l.lines > 0 {
		_, _ = fmt.Fprintf(l.w, "\x1b[%dA\x1b[J", l.lines) // Up over the last table, and erase it.
	}
	_, _ = fmt.Fprintln(l.w, text)
	l.lines = strings.Count(text, "\n") + 1
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Main runs sluicectl and gives the exit status.
func Main(args []string) int {
	serve.RouteGRPCLogs()
	ctx, stop := serve.Signals()
	defer stop()
	command := Command(os.Stdout, os.Stderr)
	command.SetArgs(args)
	if err := command.ExecuteContext(ctx); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "sluicectl: "+err.Error())
		return 1
	}
	return 0
}
