// Package explain draws one unit's life as a waterfall of text.
package explain

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/ctl/internal/service"
)

// patience is how long the edge may take to answer.
const patience = 10 * time.Second

// Config names the unit.
type Config struct {
	// Address is the gRPC address of the edge that has, or had, the session.
	Address         string
	Session, Stream string
	Sequence        uint32
	// JSON writes the contract's JSON instead of a drawing.
	JSON bool
	Out  io.Writer
}

// Run asks the edge about the unit and writes what it says.
func Run(ctx context.Context, cfg Config) error {
	inspection, err := service.Connect(cfg.Address)
	if err != nil {
		return err
	}
	defer inspection.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, err := inspection.InspectServiceClient.Explain(ctx, &sluicev1.ExplainRequest{Session: &cfg.Session, Stream: &cfg.Stream, Sequence: &cfg.Sequence})
	if err != nil {
		return inspection.Explain(err)
	}
	text := draw(cfg, m)
	if cfg.JSON {
		b, err := wire.JSON(m)
		if err != nil {
			return err
		}
		text = string(b) + "\n"
	}
	_, err = io.WriteString(cfg.Out, text)
	return err
}

// draw gives a unit's life as lines of text: for each model what became of the unit and why, a bar for each stage, and who was handed the outcome.
func draw(cfg Config, m *sluicev1.ExplainResponse) string {
	var b strings.Builder
	fmt.Fprintf(&b, "unit %d of stream %s in session %s", cfg.Sequence, cfg.Stream, cfg.Session)
	if at := m.GetArrivalTime(); at != nil {
		fmt.Fprintf(&b, ", arrived %s", at.AsTime().Local().Format("15:04:05.000"))
	}
	b.WriteByte('\n')
	if m.GetNotSampled() {
		explanation(&b, m.GetWhy(), m.GetAdvice())
	}
	batches := map[string]uint32{}
	for _, o := range m.GetOutcomes() {
		batches[o.GetModel()] = o.GetBatchSize()
	}
	for _, life := range m.GetLives() {
		fmt.Fprintf(&b, "\n%s: %s\n", life.GetModel(), headline(life, batches[life.GetModel()]))
		waterfall(&b, life)
		explanation(&b, life.GetWhy(), life.GetAdvice())
		for _, d := range life.GetDeliveries() {
			fmt.Fprintf(&b, "  handed to %s after %s\n", d.GetSink(), milliseconds(d.GetAt()))
		}
	}
	return b.String()
}

// headline says what became of a unit for a model.
func headline(life *sluicev1.Life, batch uint32) string {
	said := fmt.Sprintf("no outcome yet, due after %s", milliseconds(life.GetDeadline()))
	if life.Settled != nil {
		said = fmt.Sprintf("%s after %s of %s", life.GetVerdict(), milliseconds(life.GetSettled()), milliseconds(life.GetDeadline()))
	}
	if life.Router != nil {
		said += ", router " + life.GetRouter()
	}
	if batch > 0 {
		said += fmt.Sprintf(", batch of %d", batch)
	}
	return said
}

// width is that of the bars, in characters.
const width = 48

// waterfall draws the stages one below the other, each where it lies between arrival and end.
func waterfall(b *strings.Builder, life *sluicev1.Life) {
	total := life.GetSettled()
	for _, s := range life.GetSteps() {
		total = max(total, s.GetBegin()+s.GetDuration())
	}
	guessed := false
	for _, s := range life.GetSteps() {
		from, to := column(s.GetBegin(), total), width
		took := "goes on"
		if s.Duration != nil {
			to, took = column(s.GetBegin()+s.GetDuration(), total), milliseconds(s.GetDuration())
		}
		from = min(from, width-1)
		bar := strings.Repeat(" ", from) + strings.Repeat("█", max(1, to-from))
		mark := " "
		if s.GetEstimated() {
			mark, guessed = "~", true
		}
		fmt.Fprintf(b, "  %-8s %s%-*s %10s %s\n", strings.ToLower(s.GetStage().String()), "│", width, bar, took, mark)
	}
	if guessed {
		b.WriteString("  ~ where it lies is estimated: the clocks of edge and router are not compared\n")
	}
}

// column gives where a moment lies in a bar.
func column(at, total float64) int {
	if total <= 0 {
		return 0
	}
	return int(math.Round(at / total * width))
}

// explanation writes why it came so and what to do, if there is anything to say.
func explanation(b *strings.Builder, why, advice string) {
	if why != "" {
		fmt.Fprintf(b, "  why: %s\n", why)
	}
	if advice != "" {
		fmt.Fprintf(b, "  what to do: %s\n", advice)
	}
}

func milliseconds(seconds float64) string { return fmt.Sprintf("%.1f ms", seconds*1000) }
