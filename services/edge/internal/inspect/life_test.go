package inspect

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/ledger"
	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

const ms = time.Millisecond

// brief writes a way as "STAGE begin+duration", in milliseconds, estimated times with a tilde.
func brief(way []*sluicev1.Step) string {
	var words []string
	for _, s := range way {
		word := fmt.Sprintf("%s %g", s.GetStage(), s.GetBegin()*1000)
		if s.Duration != nil {
			word += fmt.Sprintf("+%g", s.GetDuration()*1000)
		}
		if s.GetEstimated() {
			word = "~" + word
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

func TestLife(t *testing.T) {
	t.Parallel()
	arrival := time.Unix(1000, 0)
	prepared := media.Timings{Receive: 4 * ms, Decode: 3 * ms, Convert: 1 * ms}
	whole := func(total time.Duration) media.Timings {
		t := prepared
		t.Queue, t.Infer, t.Total = 10*ms, 20*ms, total
		return t
	}
	for _, c := range []struct {
		name    string
		way     ledger.Way
		outcome *media.Outcome
		stage   sluicev1.Life_Stage
		verdict string
		steps   string
	}{
		{
			"a result", ledger.Way{Prepared: 14 * ms, Sent: 16 * ms, Timings: whole(54 * ms), Router: "r1"}, &media.Outcome{Result: &media.Result{}, Timings: whole(54 * ms)},
			sluicev1.Life_HOMEWARD, "RESULT", "RECEIVE 0+4, ORDER 4+2, TURN 6+4, DECODE 10+3, CONVERT 13+1, SLOT 14+2, ~OUTWARD 16+4, ~QUEUE 20+10, ~INFER 30+20, ~HOMEWARD 50+4",
		},
		{
			"a lost picture", ledger.Way{Timings: media.Timings{Total: 7 * ms}}, &media.Outcome{Drop: media.Damaged, Timings: media.Timings{Total: 7 * ms}},
			sluicev1.Life_ORDER, "DAMAGED", "ORDER 0+6, TURN 6+1",
		},
		{
			"an expired one in the slot", ledger.Way{Prepared: 14 * ms, Timings: prepared}, &media.Outcome{Drop: media.Expired, Timings: media.Timings{Total: 100 * ms}},
			sluicev1.Life_SLOT, "EXPIRED", "RECEIVE 0+4, ORDER 4+2, TURN 6+4, DECODE 10+3, CONVERT 13+1",
		},
		{
			"an expired one before decoding", ledger.Way{Timings: media.Timings{Total: 100 * ms}}, &media.Outcome{Drop: media.Expired, Timings: media.Timings{Total: 100 * ms}},
			sluicev1.Life_TURN, "EXPIRED", "ORDER 0+6, TURN 6+94",
		},
		{
			"one that the router gave up", ledger.Way{Prepared: 14 * ms, Sent: 16 * ms, Timings: media.Timings{Total: 56 * ms}}, &media.Outcome{Drop: media.Superseded, Timings: media.Timings{Total: 56 * ms}},
			sluicev1.Life_QUEUE, "SUPERSEDED", "ORDER 0+6, TURN 6+8, SLOT 14+2, ~QUEUE 16+40",
		},
		{
			"one that the model hung on", ledger.Way{Prepared: 14 * ms, Sent: 16 * ms, Timings: whole(54 * ms)}, &media.Outcome{Error: media.BackendTimeout, Timings: whole(54 * ms)},
			sluicev1.Life_INFER, "BACKEND_TIMEOUT", "RECEIVE 0+4, ORDER 4+2, TURN 6+4, DECODE 10+3, CONVERT 13+1, SLOT 14+2, ~OUTWARD 16+4, ~QUEUE 20+10, ~INFER 30+20, ~HOMEWARD 50+4",
		},
		{
			"one that never came back", ledger.Way{Prepared: 14 * ms, Sent: 16 * ms, Timings: media.Timings{Total: 290 * ms}}, &media.Outcome{Error: media.RouterLost, Timings: media.Timings{Total: 290 * ms}},
			sluicev1.Life_OUTWARD, "ROUTER_LOST", "ORDER 0+6, TURN 6+8, SLOT 14+2, OUTWARD 16+274",
		},
		{
			"a window of sound, decoded before it was whole", ledger.Way{Prepared: 6 * ms, Timings: media.Timings{Receive: 4 * ms, Decode: 1 * ms}}, nil,
			sluicev1.Life_SLOT, "", "RECEIVE 0+4, ORDER 4+1, DECODE 5+1, SLOT 6",
		},
		{"one in the decoder", ledger.Way{}, nil, sluicev1.Life_TURN, "", "ORDER 0+6, TURN 6"},
		{"one that is away", ledger.Way{Prepared: 14 * ms, Sent: 16 * ms, Timings: prepared}, nil, sluicev1.Life_OUTWARD, "", "RECEIVE 0+4, ORDER 4+2, TURN 6+4, DECODE 10+3, CONVERT 13+1, SLOT 14+2, OUTWARD 16"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.way.Model, c.way.Deadline = "faces", 250*ms
			c.way.Deliveries = []ledger.Delivery{{Sink: "WebSocket", After: 60 * ms}}
			unit := ledger.Life{Unit: ledger.Unit{Arrival: arrival, Judged: arrival.Add(6 * ms)}, Ways: []ledger.Way{c.way}}
			if c.outcome != nil {
				unit.Outcomes = []media.Outcome{*c.outcome}
			} else {
				unit.InFlight = []string{"faces"}
			}
			m := explain(unit).GetLives()[0]
			if m.GetStage() != c.stage || m.GetVerdict() != c.verdict || m.GetRouter() != c.way.Router || m.GetDeadline() != 0.25 {
				t.Errorf("got %v, want stage %v and verdict %s", m, c.stage, c.verdict)
			}
			if got := brief(m.GetSteps()); got != c.steps {
				t.Errorf("steps:\n got %s\nwant %s", got, c.steps)
			}
			if (m.Settled == nil) != (c.outcome == nil) || (m.Why == nil) != (c.outcome == nil) {
				t.Errorf("settled %v, why %q", m.Settled, m.GetWhy())
			}
			if d := m.GetDeliveries(); len(d) != 1 || d[0].GetSink() != "WebSocket" || d[0].GetAt() != 0.06 {
				t.Errorf("deliveries %v", d)
			}
		})
	}
}

func TestAUnitThatWasNotDue(t *testing.T) {
	t.Parallel()
	resp := explain(ledger.Life{Unit: ledger.Unit{Arrival: time.Unix(1, 0)}, End: time.Unix(2, 0)})
	if !resp.GetNotSampled() || resp.GetWhy() == "" || resp.GetAdvice() == "" || len(resp.GetLives()) != 0 || resp.GetStreamEndTime().GetSeconds() != 2 {
		t.Errorf("got %v", resp)
	}
}

// TestEveryEndIsExplained holds the texts against the closed sets of reasons and codes, at every stage.
func TestEveryEndIsExplained(t *testing.T) {
	t.Parallel()
	seen := map[text]string{}
	check := func(name string, said text) {
		if len(said.why) < 20 || len(said.advice) < 20 || !strings.HasSuffix(said.why, ".") || !strings.HasSuffix(said.advice, ".") {
			t.Errorf("%s is explained as %q and %q, want whole sentences", name, said.why, said.advice)
		}
		if other, known := seen[said]; known && other != name {
			t.Errorf("%s and %s have the same texts", name, other)
		}
		seen[said] = name
	}
	for number := range sluicev1.Life_Stage_name {
		at := sluicev1.Life_Stage(number)
		for _, reason := range media.DropReasons() {
			check(reason.String(), ofDrop(reason, at))
		}
	}
	for _, code := range media.ErrorCodes() {
		check(code.String(), ofError(code))
	}
	if want := len(media.DropReasons()) + len(media.ErrorCodes()); len(seen) < want {
		t.Errorf("%d texts for %d ends", len(seen), want)
	}
}

func TestWhereTheTimeWent(t *testing.T) {
	t.Parallel()
	o := media.Outcome{Drop: media.Expired, Timings: media.Timings{Total: 240 * ms}}
	way := []*sluicev1.Step{{Stage: slot.Enum(), Begin: new(0.0), Duration: new(0.01)}, {Stage: sluicev1.Life_QUEUE.Enum(), Begin: new(0.01), Duration: new(0.2)}}
	if got, want := spent(&o, 250*ms, way), " Its deadline was 250 ms after its arrival, its end came after 240 ms; the longest stage was QUEUE with 200 ms."; got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if got := spent(&o, 250*ms, nil); !strings.HasSuffix(got, "240 ms.") {
		t.Errorf("without steps: %q", got)
	}
	if got := spent(&media.Outcome{Drop: media.Superseded}, 250*ms, way); got != "" {
		t.Errorf("of a superseded unit: %q", got)
	}
}
