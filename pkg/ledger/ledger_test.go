package ledger

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

const grace = 40 * time.Millisecond

var start = time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

// due makes dues with deadlines in milliseconds after start.
func due(ms int, models ...string) []media.Due {
	var out []media.Due
	for _, m := range models {
		out = append(out, media.Due{Model: m, Deadline: at(ms)})
	}
	return out
}

func open(t *testing.T, l *Ledger, stream string, models ...string) {
	t.Helper()
	if err := l.OpenStream(stream, models); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, l *Ledger, stream string, arrival int, dues []media.Due) uint32 {
	t.Helper()
	sequence, forced := l.Receive(stream, Unit{Arrival: at(arrival)}, dues)
	if sequence == 0 || len(forced) > 0 {
		t.Fatalf("Receive(%s) = %d, forced %v", stream, sequence, forced)
	}
	return sequence
}

// brief writes outcomes as "stream/sequence model what@total".
func brief(outcomes ...media.Outcome) string {
	var words []string
	for _, o := range outcomes {
		what := o.Drop.String() + o.Error.String()
		if o.Result != nil {
			what += "result"
		}
		words = append(words, fmt.Sprintf("%s/%d %s %s@%v", o.Stream, o.Sequence, o.Model, what, o.Timings.Total))
	}
	return strings.Join(words, ", ")
}

func check(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

func TestAnOutcomeIsFilledInFromTheLedger(t *testing.T) {
	t.Parallel()
	l := New("s1", grace)
	open(t, l, "camera", "faces")
	u := Unit{Arrival: at(0), RTP: media.RTP{Valid: true, SSRC: 7, Timestamp: 9}, Captured: at(-5), Clock: media.ClockSenderReport}
	sequence, _ := l.Receive("camera", u, due(250, "faces"))
	l.Prepared("camera", sequence, "faces", media.Timings{Receive: 1, Decode: 2, Convert: 3}, at(1))
	result := &media.Result{Classes: []media.Classification{{Label: "x", Score: 1}}}
	got, ok := l.Finalise(media.Outcome{
		Session: "another session's", Stream: "camera", Sequence: sequence, Model: "faces", BatchSize: 4, Result: result,
		RTP: media.RTP{SSRC: 666}, Timings: media.Timings{Convert: 30, Queue: 4, Infer: 5, Total: time.Hour},
	}, at(34))
	want := media.Outcome{
		Session: "s1", Stream: "camera", Sequence: 1, RTP: u.RTP, Captured: u.Captured, Clock: u.Clock, Model: "faces", BatchSize: 4,
		Result: result, Timings: media.Timings{Receive: 1, Decode: 2, Convert: 30, Queue: 4, Infer: 5, Total: 34 * time.Millisecond},
	}
	if !ok || got != want {
		t.Errorf("Finalise = %+v, %v\nwant %+v, true", got, ok, want)
	}
}

func TestFinaliseLeavesExactlyOneEnd(t *testing.T) {
	t.Parallel()
	result := &media.Result{}
	for _, c := range []struct {
		name  string
		given media.Outcome
		want  string
	}{
		{"result", media.Outcome{Result: result}, "result"},
		{"drop", media.Outcome{Drop: media.Superseded}, "SUPERSEDED"},
		{"error", media.Outcome{Error: media.BackendTimeout}, "BACKEND_TIMEOUT"},
		{"nothing", media.Outcome{}, "INTERNAL"},
		{"drop and result", media.Outcome{Drop: media.Expired, Result: result}, "EXPIRED"},
		{"all", media.Outcome{Drop: media.Expired, Result: result, Error: media.BackendRejected}, "BACKEND_REJECTED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := New("s", grace)
			open(t, l, "a")
			c.given.Stream, c.given.Model, c.given.Sequence = "a", "m", receive(t, l, "a", 0, due(100, "m"))
			got, ok := l.Finalise(c.given, at(10))
			if !ok {
				t.Fatal("refused")
			}
			check(t, "outcome", brief(got), "a/1 m "+c.want+"@10ms")
		})
	}
}

func TestASecondOutcomeIsLateAndAMadeUpOneIsNothing(t *testing.T) {
	t.Parallel()
	l := New("s", grace)
	open(t, l, "a", "m", "other")
	receive(t, l, "a", 0, due(100, "m"))
	l.Sent("a", 1, "m", "r", at(1))
	answer := media.Outcome{Stream: "a", Sequence: 1, Model: "m", Result: &media.Result{}}
	if _, ok := l.Finalise(answer, at(1)); !ok {
		t.Fatal("the first outcome was refused")
	}
	for _, o := range []media.Outcome{
		answer, // late
		{Stream: "a", Sequence: 1, Model: "m", Drop: media.Expired}, // late
		{Stream: "a", Sequence: 2, Model: "m"},                      // never was
		{Stream: "a", Sequence: 0, Model: "m"},                      // never was
		{Stream: "a", Sequence: 1, Model: "other"},                  // was not due
		{Stream: "a", Sequence: 1, Model: "unknown"},
		{Stream: "unknown", Sequence: 1, Model: "m"},
	} {
		if got, ok := l.Finalise(o, at(2)); ok {
			t.Errorf("Finalise(%s) = %s, want it refused", brief(o), brief(got))
		}
	}
	for _, m := range l.Counts()[0].Models {
		if want := map[string]uint32{"m": 2}[m.Model]; m.Late != want {
			t.Errorf("%s: late = %d, want %d", m.Model, m.Late, want)
		}
	}
}

func TestOnlyWhatARouterSaysIsLate(t *testing.T) {
	t.Parallel()
	l := New("s", grace)
	open(t, l, "a", "m")
	receive(t, l, "a", 0, due(100, "m"))
	l.Expire(at(200))
	late := func() uint32 {
		l.Finalise(media.Outcome{Stream: "a", Sequence: 1, Model: "m", Drop: media.Expired}, at(201))
		return l.Counts()[0].Models[0].Late
	}
	if n := late(); n != 0 {
		t.Errorf("%d late for a unit that two stages of the edge gave up", n)
	}
	l.Sent("a", 1, "m", "r", at(1)) // it was on its way while it expired
	if n := late(); n != 1 {
		t.Errorf("%d late for a unit that a router had", n)
	}
}

func TestExpire(t *testing.T) {
	t.Parallel()
	l := New("s", grace)
	open(t, l, "a", "fast", "slow")
	if _, ok := l.Next(); ok {
		t.Error("Next says something with nothing in flight")
	}
	receive(t, l, "a", 0, append(due(300, "slow"), due(100, "fast")...))
	receive(t, l, "a", 30, due(130, "fast"))
	l.Sent("a", 1, "fast", "r", at(1))
	l.Sent("a", 9, "fast", "r", at(1)) // nobody knows it
	for _, c := range []struct {
		now, next int
		want      string
	}{
		{139, 140, ""},
		{140, 170, "a/1 fast ROUTER_LOST@140ms"},
		{200, 340, "a/2 fast EXPIRED@170ms"},
		{340, 0, "a/1 slow EXPIRED@340ms"},
		{999, 0, ""},
	} {
		check(t, fmt.Sprintf("Expire at %d ms", c.now), brief(l.Expire(at(c.now))...), c.want)
		next, ok := l.Next()
		if ok != (c.next != 0) || ok && !next.Equal(at(c.next)) {
			t.Errorf("after %d ms: Next = %v, %v, want %d ms", c.now, next.Sub(start), ok, c.next)
		}
	}
}

func TestTheSameModelTwiceIsDueOnce(t *testing.T) {
	t.Parallel()
	l := New("s", grace)
	open(t, l, "a")
	receive(t, l, "a", 0, due(100, "m", "n", "m"))
	check(t, "outcomes", brief(l.Close(at(5))...), "a/1 m DRAINING@5ms, a/1 n DRAINING@5ms")
}

func TestStreamsOpenCloseAndOpenAgain(t *testing.T) {
	t.Parallel()
	l := New("s", grace)
	if n, _ := l.Receive("a", Unit{}, nil); n != 0 {
		t.Errorf("a unit of an unknown stream got number %d", n)
	}
	open(t, l, "a", "m")
	receive(t, l, "a", 0, due(100, "m"))
	receive(t, l, "a", 10, due(110, "m"))
	l.Sent("a", 1, "m", "r", at(1))
	check(t, "CloseStream", brief(l.CloseStream("a", at(20))...), "a/2 m DRAINING@10ms")
	check(t, "CloseStream again", brief(l.CloseStream("a", at(21))...), "")
	if n, _ := l.Receive("a", Unit{}, nil); n != 0 {
		t.Errorf("a unit of an ended stream got number %d", n)
	}
	if o, ok := l.Finalise(media.Outcome{Stream: "a", Sequence: 1, Model: "m", Result: &media.Result{}}, at(30)); !ok {
		t.Error("the answer to a frame sent before the end was refused")
	} else {
		check(t, "answer", brief(o), "a/1 m result@30ms")
	}
	open(t, l, "a", "n")
	if n := receive(t, l, "a", 40, due(140, "n")); n != 3 {
		t.Errorf("the reopened stream went on with %d, want 3", n)
	}
	check(t, "Close", brief(l.Close(at(50))...), "a/3 n DRAINING@10ms")
	counts := l.Counts()
	want := []media.StreamCounts{{Stream: "a", Received: 3, Accepted: 3, Models: []media.ModelCounts{
		{Model: "m", Accepted: 2, Results: 1, Drops: drops(media.Draining, 1)},
		{Model: "n", Accepted: 1, Drops: drops(media.Draining, 1)},
	}}}
	if fmt.Sprint(counts) != fmt.Sprint(want) {
		t.Errorf("counts:\n got %+v\nwant %+v", counts, want)
	}
}

func drops(r media.DropReason, n uint32) (d [media.Draining + 1]uint32) {
	d[r] = n
	return d
}

func TestNotSampledCountsForTheModelsThatTheStreamFeeds(t *testing.T) {
	t.Parallel()
	l := New("s", grace)
	open(t, l, "a", "m", "n")
	receive(t, l, "a", 0, nil)
	receive(t, l, "a", 0, due(100, "m"))
	open(t, l, "a", "n")
	receive(t, l, "a", 0, nil)
	c := l.Counts()[0]
	if c.Received != 3 || c.NotDue != 2 || c.Accepted != 1 || c.Models[0].NotSampled != 1 || c.Models[1].NotSampled != 3 {
		t.Errorf("counts %+v", c)
	}
}

func TestAUnitThatLeavesTheWindowIsMadeFinal(t *testing.T) {
	t.Parallel()
	l := New("s", grace)
	open(t, l, "a", "m")
	for range kept {
		receive(t, l, "a", 0, due(100, "m"))
	}
	n, forced := l.Receive("a", Unit{Arrival: at(7)}, due(100, "m"))
	if n != kept+1 {
		t.Errorf("number %d", n)
	}
	check(t, "forced", brief(forced...), "a/1 m OVERLOADED@7ms")
	if _, ok := l.Finalise(media.Outcome{Stream: "a", Sequence: 1, Model: "m"}, at(8)); ok {
		t.Error("the unit outside of the window was finalised")
	}
	if c := l.Counts()[0].Models[0]; c.Late != 1 || c.InFlight != kept {
		t.Errorf("late %d, in flight %d", c.Late, c.InFlight)
	}
	if got := len(l.Close(at(9))); got != kept {
		t.Errorf("Close gave %d outcomes, want %d", got, kept)
	}
}

func TestNamesAreBounded(t *testing.T) {
	t.Parallel()
	l := New("s", grace)
	for i := range maxStreams {
		open(t, l, fmt.Sprint(i))
	}
	if err := l.OpenStream("one more", nil); !errors.Is(err, ErrTooManyStreams) {
		t.Errorf("the stream after the last: %v", err)
	}
	l.CloseStream("3", at(0))
	open(t, l, "3")
}

func TestExplain(t *testing.T) {
	t.Parallel()
	l := New("s", grace)
	open(t, l, "a", "m", "n")
	receive(t, l, "a", 0, due(100, "m", "n"))
	receive(t, l, "a", 33, nil)
	l.Finalise(media.Outcome{Stream: "a", Sequence: 1, Model: "m", Drop: media.Superseded}, at(9))
	life, ok := l.Explain("a", 1)
	if !ok || !life.Due() || !life.Arrival.Equal(at(0)) || !slices.Equal(life.InFlight, []string{"n"}) {
		t.Errorf("Explain(a, 1) = %+v, %v", life, ok)
	}
	check(t, "outcomes", brief(life.Outcomes...), "a/1 m SUPERSEDED@9ms")
	if life, ok := l.Explain("a", 2); !ok || life.Due() {
		t.Errorf("Explain(a, 2) = %+v, %v", life, ok)
	}
	for _, c := range []struct {
		stream   string
		sequence uint32
	}{{"a", 0}, {"a", 3}, {"b", 1}} {
		if life, ok := l.Explain(c.stream, c.sequence); ok {
			t.Errorf("Explain(%s, %d) = %+v", c.stream, c.sequence, life)
		}
	}
}

func TestExplainTellsTheWay(t *testing.T) {
	t.Parallel()
	l := New("s", grace)
	open(t, l, "a", "m", "n")
	l.Receive("a", Unit{Arrival: at(0), Judged: at(4)}, append(due(100, "m"), due(200, "n")...))
	early := media.Timings{Receive: 3, Decode: 2}
	l.Prepared("a", 1, "m", early, at(6))
	l.Prepared("a", 1, "n", early, at(0)) // in no time, but it was
	l.Sent("a", 1, "m", "r1", at(8))
	l.Delivered("a", 1, "m", "too soon", at(8))
	l.Finalise(media.Outcome{Stream: "a", Sequence: 1, Model: "m", Result: &media.Result{}, Timings: media.Timings{Queue: 5}}, at(20))
	l.Prepared("a", 1, "m", media.Timings{}, at(21)) // final already
	l.Delivered("a", 1, "m", "first", at(22))
	for range 2 * keptDeliveries {
		l.Delivered("a", 1, "m", "another", at(23))
	}
	l.Delivered("a", 2, "m", "made up", at(24))
	life, _ := l.Explain("a", 1)
	if !life.Judged.Equal(at(4)) || len(life.Ways) != 2 {
		t.Fatalf("Explain(a, 1) = %+v", life)
	}
	m, n := life.Ways[0], life.Ways[1]
	ms := time.Millisecond
	if m.Model != "m" || m.Deadline != 100*ms || m.Prepared != 6*ms || m.Sent != 8*ms || m.Router != "r1" {
		t.Errorf("the way to m: %+v", m)
	}
	if want := (media.Timings{Receive: 3, Decode: 2, Queue: 5, Total: 20 * ms}); m.Timings != want {
		t.Errorf("timings %+v, want %+v", m.Timings, want)
	}
	if len(m.Deliveries) != keptDeliveries || m.Deliveries[0] != (Delivery{"first", 22 * ms}) || m.Deliveries[1].Sink != "another" {
		t.Errorf("deliveries %v", m.Deliveries)
	}
	if n.Model != "n" || n.Deadline != 200*ms || n.Prepared <= 0 || n.Sent != 0 || n.Router != "" || n.Deliveries != nil || n.Timings != early {
		t.Errorf("the way to n: %+v", n)
	}
	l.Expire(at(400))
	for range kept { // the unit's place is another one's in the end
		receive(t, l, "a", 30, nil)
	}
	l.Receive("a", Unit{Arrival: at(30)}, due(500, "m"))
	if life, ok := l.Explain("a", kept+2); !ok || len(life.Ways) != 1 || life.Ways[0].Deliveries != nil || life.Ways[0].Prepared != 0 || life.Ways[0].Router != "" {
		t.Errorf("a unit in the place of another: %+v", life)
	}
}

func TestExplainKeepsTheLastUnitsAndForgetsAfterTheEnd(t *testing.T) {
	t.Parallel()
	l := New("s", grace)
	open(t, l, "a")
	for range kept + 10 {
		receive(t, l, "a", 0, nil)
	}
	known := func(sequence uint32) bool { _, ok := l.Explain("a", sequence); return ok }
	if known(10) || !known(11) || !known(kept+10) {
		t.Error("the window of units is not the last 512")
	}
	l.CloseStream("a", at(0))
	l.Expire(at(59_999))
	if !known(kept + 10) {
		t.Error("forgotten before 60 s")
	}
	l.Expire(at(60_000))
	if known(kept + 10) {
		t.Error("still kept after 60 s")
	}
	open(t, l, "a", "m")
	if n := receive(t, l, "a", 0, due(100, "m")); n != kept+11 || !known(n) || known(n-1) {
		t.Errorf("the reopened stream: unit %d", n)
	}
	check(t, "Close", brief(l.Close(at(1))...), fmt.Sprintf("a/%d m DRAINING@1ms", kept+11))
}

func TestWhatIsKeptOfResultsIsSmall(t *testing.T) {
	t.Parallel()
	many := make([]media.Detection, 100)
	for i := range many {
		many[i].Landmarks = make([]media.Point, 5)
	}
	for _, c := range []struct {
		name       string
		result     media.Result
		detections int
		same       bool
	}{
		{"few detections", media.Result{Detections: many[:8]}, 8, true},
		{"many detections", media.Result{Detections: many}, 8, false},
		{"tensors", media.Result{Tensors: []media.Tensor{{Values: make([]float64, 1000)}}}, 0, false},
		{"embedding", media.Result{Embedding: make([]float32, 512)}, 0, false},
		{"json", media.Result{JSON: []string{"{}"}}, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := New("s", grace)
			open(t, l, "a", "m")
			receive(t, l, "a", 0, due(100, "m"))
			given, _ := l.Finalise(media.Outcome{Stream: "a", Sequence: 1, Model: "m", Result: &c.result}, at(1))
			if given.Result != &c.result {
				t.Error("the outcome handed on is not the whole result")
			}
			life, _ := l.Explain("a", 1)
			r := life.Outcomes[0].Result
			if r == nil || len(r.Detections) != c.detections || r.Tensors != nil || r.Embedding != nil || r.JSON != nil || (r == &c.result) != c.same {
				t.Errorf("kept %+v", r)
			}
			if len(many[0].Landmarks) == 0 {
				t.Error("the result was changed")
			}
		})
	}
}
