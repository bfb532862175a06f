package inspect

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-dev/sluice/pkg/ledger"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// explain puts what the ledger knows of a unit into the contract's words.
func explain(unit ledger.Life) *sluicev1.ExplainResponse {
	resp := &sluicev1.ExplainResponse{InFlight: unit.InFlight, NotSampled: new(!unit.Due())}
	if !unit.Arrival.IsZero() {
		resp.ArrivalTime = timestamppb.New(unit.Arrival)
	}
	if !unit.End.IsZero() {
		resp.StreamEndTime = timestamppb.New(unit.End)
	}
	if !unit.Due() {
		t := notDue()
		resp.Why, resp.Advice = new(t.why), new(t.advice)
	}
	for i := range unit.Outcomes {
		resp.Outcomes = append(resp.Outcomes, wire.OutcomeToProto(unit.Outcomes[i]))
	}
	for i := range unit.Ways {
		var o *media.Outcome
		if i < len(unit.Outcomes) {
			o = &unit.Outcomes[i]
		}
		resp.Lives = append(resp.Lives, life(&unit, &unit.Ways[i], o))
	}
	return resp
}

// life tells what happened to a unit for one model; without an outcome it goes on.
func life(unit *ledger.Life, w *ledger.Way, o *media.Outcome) *sluicev1.Life {
	m := &sluicev1.Life{Model: new(w.Model), Deadline: seconds(w.Deadline), Stage: stage(w, o).Enum(), Steps: steps(unit, w, o)}
	if w.Router != "" {
		m.Router = new(w.Router)
	}
	for _, d := range w.Deliveries {
		m.Deliveries = append(m.Deliveries, &sluicev1.Delivery{Sink: new(d.Sink), At: seconds(d.After)})
	}
	if o == nil {
		return m
	}
	m.Settled = seconds(o.Timings.Total)
	var t text
	switch {
	case o.Error != media.NoError:
		m.Verdict, t = new(o.Error.String()), ofError(o.Error)
	case o.Drop != media.NotDropped:
		m.Verdict, t = new(o.Drop.String()), ofDrop(o.Drop, m.GetStage())
	default:
		m.Verdict, m.Why = new("RESULT"), new("The model answered.")
		return m
	}
	m.Why, m.Advice = new(t.why+spent(o, w.Deadline, m.GetSteps())), new(t.advice)
	return m
}

// stage tells where a unit's way ended, or where it is.
func stage(w *ledger.Way, o *media.Outcome) sluicev1.Life_Stage {
	switch {
	case o == nil && w.Sent > 0:
		return sluicev1.Life_OUTWARD
	case o == nil:
	case o.Result != nil:
		return sluicev1.Life_HOMEWARD
	case o.Error == media.DecoderError:
		return sluicev1.Life_DECODE
	case o.Error == media.Unsupported, o.Drop == media.Damaged, o.Drop == media.RateLimited, o.Drop == media.TooLarge:
		return sluicev1.Life_ORDER
	case w.Sent == 0:
	case o.Error == media.RouterLost, o.Drop == media.Draining:
		return sluicev1.Life_OUTWARD
	case o.Timings.Infer > 0:
		return sluicev1.Life_INFER
	default:
		return sluicev1.Life_QUEUE
	}
	if w.Prepared > 0 {
		return slot
	}
	return turn
}

// steps works out the stages that a unit passed, from the moments and the durations that are known.
func steps(unit *ledger.Life, w *ledger.Way, o *media.Outcome) (way []*sluicev1.Step) {
	add := func(s sluicev1.Life_Stage, from, to time.Duration) *sluicev1.Step {
		if to <= from {
			return &sluicev1.Step{}
		}
		way = append(way, &sluicev1.Step{Stage: s.Enum(), Begin: seconds(from), Duration: seconds(to - from)})
		return way[len(way)-1]
	}
	t := w.Timings
	judged := max(0, unit.Judged.Sub(unit.Arrival)) // not known is long before any arrival
	received := min(t.Receive, judged)
	converted := w.Prepared - t.Convert // sound is decoded before it is judged: a window is whole only then
	decoded := max(received, converted-t.Decode)
	add(sluicev1.Life_RECEIVE, 0, received)
	switch {
	case w.Prepared > 0:
		add(sluicev1.Life_ORDER, received, min(judged, decoded))
		add(turn, judged, decoded)
		if t.Decode > 0 {
			add(sluicev1.Life_DECODE, decoded, converted)
		}
		add(sluicev1.Life_CONVERT, converted, w.Prepared)
	case o == nil:
		add(sluicev1.Life_ORDER, received, judged)
		way = append(way, &sluicev1.Step{Stage: turn.Enum(), Begin: seconds(judged)})
	default:
		add(sluicev1.Life_ORDER, received, min(judged, t.Total))
		add(turn, judged, t.Total)
	}
	switch {
	case w.Sent > 0:
		add(slot, w.Prepared, w.Sent)
		away(add, &way, w, o)
	case w.Prepared > 0 && o == nil:
		way = append(way, &sluicev1.Step{Stage: slot.Enum(), Begin: seconds(w.Prepared)})
	case w.Prepared > 0:
		add(slot, w.Prepared, t.Total)
	}
	return way
}

// away adds the stages from a unit's sending on. Only how long it was away, and what of that it was in the queue and in the model, is known.
func away(add func(s sluicev1.Life_Stage, from, to time.Duration) *sluicev1.Step, way *[]*sluicev1.Step, w *ledger.Way, o *media.Outcome) {
	t := w.Timings
	switch stage(w, o) {
	case sluicev1.Life_OUTWARD:
		if o == nil {
			*way = append(*way, &sluicev1.Step{Stage: sluicev1.Life_OUTWARD.Enum(), Begin: seconds(w.Sent)})
			return
		}
		add(sluicev1.Life_OUTWARD, w.Sent, t.Total)
	case sluicev1.Life_QUEUE:
		add(sluicev1.Life_QUEUE, w.Sent, t.Total).Estimated = new(true)
	default:
		there := max(0, t.Total-w.Sent-t.Queue-t.Infer) / 2
		at := w.Sent + there
		add(sluicev1.Life_OUTWARD, w.Sent, at).Estimated = new(true)
		add(sluicev1.Life_QUEUE, at, at+t.Queue).Estimated = new(true)
		add(sluicev1.Life_INFER, at+t.Queue, at+t.Queue+t.Infer).Estimated = new(true)
		add(sluicev1.Life_HOMEWARD, at+t.Queue+t.Infer, t.Total).Estimated = new(true)
	}
}

// seconds rounds to microseconds, so that JSON stays short.
func seconds(d time.Duration) *float64 { return new(float64(d.Microseconds()) / 1e6) }
