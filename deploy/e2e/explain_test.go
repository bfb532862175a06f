//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sluice-dev/sluice/deploy/e2e/client"
	"github.com/sluice-dev/sluice/deploy/e2e/stack"
	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

const (
	tensorType = "application/x-tensor;dtype=FP32;shape=4"
	// explainLimit bounds how long the edge may take to explain, a new process of grpcurl on a busy machine included.
	explainLimit = 10 * time.Second
	outcomeLimit = 20 * time.Second
)

// explained is a session with one data channel, whose outcomes come back on it.
type explained struct {
	*client.Client
	t        *testing.T
	stack    *stack.Stack
	outcomes chan *sluicev1.Outcome
	sent     uint32 // messages
}

// explainable connects a session of a model. The channel is named like the model.
func explainable(t *testing.T, s *stack.Stack, model, protocol string) *explained {
	t.Helper()
	e := &explained{t: t, stack: s, outcomes: make(chan *sluicev1.Outcome, 1024)}
	c, err := client.New(client.Options{
		Edge: s.HTTP, Models: []string{model}, Label: model, Protocol: protocol, HTTP: &http.Client{Timeout: outcomeLimit},
		OnMessage: func(b []byte) {
			var m sluicev1.ServerMessage
			if err := protojson.Unmarshal(b, &m); err != nil {
				t.Errorf("%v in %s", err, b)
			}
			if o := m.GetOutcome(); o != nil {
				e.outcomes <- o
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	e.Client = c
	t.Cleanup(c.Close)
	if err := c.Post(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Accept(); err != nil {
		t.Fatal(err)
	}
	if err := c.Connected(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

// send sends messages on the session's channel.
func (e *explained) send(messages ...[]byte) {
	e.t.Helper()
	for _, m := range messages {
		if err := e.Channel.Send(m); err != nil {
			e.t.Fatal(err)
		}
		e.sent++
	}
}

// ready sends a message until it has an outcome, any: before a router has said what the session's models need, units are due for none.
func (e *explained) ready(t *testing.T, message []byte) {
	t.Helper()
	stack.Eventually(t, outcomeLimit, "the session's models are known", func() error {
		e.send(message)
		if e.outcomeSoon() == nil {
			return errors.New("no outcome")
		}
		return nil
	})
}

// outcomeSoon gives an outcome that comes within a moment, nil for none.
func (e *explained) outcomeSoon() *sluicev1.Outcome {
	select {
	case o := <-e.outcomes:
		return o
	case <-time.After(time.Second):
		return nil
	}
}

// outcome waits for one with a verdict: a reason, a code, or RESULT.
func (e *explained) outcome(t *testing.T, verdict string) *sluicev1.Outcome {
	t.Helper()
	late := time.NewTimer(outcomeLimit)
	defer late.Stop()
	var seen []string
	for {
		select {
		case o := <-e.outcomes:
			if verdictOf(o) == verdict {
				return o
			}
			seen = append(seen, verdictOf(o))
		case <-late.C:
			t.Fatalf("no outcome %s within %s, but %v", verdict, outcomeLimit, seen)
		}
	}
}

func verdictOf(o *sluicev1.Outcome) string {
	switch end := o.GetEnd().(type) {
	case *sluicev1.Outcome_Drop:
		return end.Drop.GetReason().String()
	case *sluicev1.Outcome_Error:
		return end.Error.GetCode().String()
	}
	return "RESULT"
}

// ask asks the edge about a unit, as an operator would.
func (e *explained) ask(t *testing.T, stream string, sequence uint32) *sluicev1.ExplainResponse {
	t.Helper()
	request := fmt.Sprintf(`{"session": %q, "stream": %q, "sequence": %d}`, e.ID, stream, sequence)
	out := stack.Command(t, "", explainLimit, stack.Tool(t, "grpcurl"), "-plaintext", "-d", request, e.stack.EdgeGRPC, "sluice.v1.InspectService/Explain")
	m := &sluicev1.ExplainResponse{}
	if err := protojson.Unmarshal([]byte(out), m); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return m
}

// cause is one way to an end.
type cause struct {
	// verdict is a drop reason, an error code or RESULT.
	verdict string
	// stages are where its way may end.
	stages []sluicev1.Life_Stage
	// model is that of the session, protocol that of its channel.
	model, protocol string
	// provoke makes a unit come to its end.
	provoke func(e *explained)
	// gone is true where the client is not there any more for the outcome of the last message that was sent.
	gone bool
}

// check holds what the edge explains against what the client was told.
func (c *cause) check(t *testing.T, s *stack.Stack) {
	t.Helper()
	e := explainable(t, s, c.model, c.protocol)
	e.ready(t, harmless(c.protocol))
	c.provoke(e)
	stream, sequence := c.model, e.sent
	if !c.gone {
		o := e.outcome(t, c.verdict)
		stream, sequence = o.GetStream(), o.GetSequence()
	}
	var m *sluicev1.ExplainResponse
	stack.Eventually(t, outcomeLimit, "the edge explains "+c.verdict, func() error {
		m = e.ask(t, stream, sequence)
		if got := m.GetLives()[0]; got.GetVerdict() != c.verdict || !c.gone && len(got.GetDeliveries()) == 0 {
			return fmt.Errorf("it says %v", got)
		}
		return nil
	})
	life := m.GetLives()[0]
	t.Logf("unit %d: %s in %s after %.1f ms: %s", sequence, life.GetVerdict(), life.GetStage(), life.GetSettled()*1000, life.GetWhy())
	if len(m.GetOutcomes()) != 1 || verdictOf(m.GetOutcomes()[0]) != c.verdict || life.GetModel() != c.model || m.GetArrivalTime() == nil {
		t.Errorf("the edge says %v", m)
	}
	if !slices.Contains(c.stages, life.GetStage()) {
		t.Errorf("its way ended in %s, want one of %v", life.GetStage(), c.stages)
	}
	if len(life.GetWhy()) < 10 || (c.verdict != "RESULT") != (len(life.GetAdvice()) > 10) {
		t.Errorf("why %q, advice %q", life.GetWhy(), life.GetAdvice())
	}
	checkSteps(t, life)
	if !c.gone && !strings.Contains(life.GetDeliveries()[0].GetSink(), c.model) {
		t.Errorf("handed to %v, want the channel %s", life.GetDeliveries(), c.model)
	}
}

// checkSteps wants stages in their order that do not overlap and lie between arrival and end.
func checkSteps(t *testing.T, life *sluicev1.Life) {
	t.Helper()
	const rounding = 2e-6 // seconds
	end, stage := 0.0, sluicev1.Life_STAGE_UNSPECIFIED
	for _, s := range life.GetSteps() {
		if s.GetStage() <= stage || s.GetBegin() < end-rounding || s.Duration == nil {
			t.Errorf("step %v comes after %s, which ended at %g s", s, stage, end)
		}
		end, stage = s.GetBegin()+s.GetDuration(), s.GetStage()
	}
	if end > life.GetSettled()+rounding {
		t.Errorf("the steps end at %g s, the way at %g s", end, life.GetSettled())
	}
}

// The edge explains every end that a unit can have, to grpcurl: what became of it, where on its way, why, and what to do.
func TestExplain(t *testing.T) {
	models := serveFaults(t)
	s := stack.Start(t, stack.Options{Router: models, EdgeFlags: []string{
		"--limits.message", "1MiB", "--limits.bitrate", "1Mbps", "--limits.pixels", "6144x6144", "--limits.decoder_memory", "64MiB",
	}})
	covered := map[string]bool{}
	t.Run("calm", func(t *testing.T) {
		for _, c := range calmCauses() {
			covered[c.verdict] = true
			t.Run(c.verdict, func(t *testing.T) {
				t.Parallel()
				c.check(t, s)
			})
		}
	})
	t.Run("sluicectl", func(t *testing.T) { checkTools(t, s) })
	for _, c := range routerCauses(s) {
		covered[c.verdict] = true
		t.Run(c.verdict, func(t *testing.T) { c.check(t, s) })
	}
	covered["INTERNAL"] = true
	t.Run("INTERNAL", func(t *testing.T) {
		router := serveFailingRouter(t)
		alone := stack.Start(t, stack.Options{NoRouter: true, EdgeFlags: []string{"--router.target", "dns:///" + router}})
		stack.Eventually(t, outcomeLimit, "the edge knows the router's model", func() error {
			_, err := explainReady(alone)
			return err
		})
		internal := cause{
			"INTERNAL", []sluicev1.Life_Stage{sluicev1.Life_QUEUE}, "broken", tensorType, func(e *explained) { e.send(provoking()) }, false,
		}
		internal.check(t, alone)
	})
	for _, reason := range media.DropReasons() {
		if !covered[reason.String()] {
			t.Errorf("no test explains %s", reason)
		}
	}
	for _, code := range media.ErrorCodes() {
		if !covered[code.String()] {
			t.Errorf("no test explains %s", code)
		}
	}
}

// checkTools asks sluicectl about a session that lives.
func checkTools(t *testing.T, s *stack.Stack) {
	t.Helper()
	e := explainable(t, s, "echo", tensorType)
	e.ready(t, harmless(tensorType))
	e.send(provoking())
	e.outcome(t, "RESULT")
	ctl := stack.Binary(t, "sluicectl")
	for _, address := range []string{s.EdgeGRPC, s.RouterGRPC} {
		if table := stack.Command(t, "", explainLimit, ctl, "top", address, "--once", "--sort", "results"); !containsAll(table, e.ID, "echo", "errors a second") {
			t.Errorf("sluicectl top %s:\n%s", address, table)
		}
		line := stack.Command(t, "", explainLimit, ctl, "top", address, "--once", "--json")
		m := &sluicev1.ListSessionsResponse{}
		if err := protojson.Unmarshal([]byte(line), m); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		own := slices.IndexFunc(m.GetSessions(), func(one *sluicev1.Session) bool { return one.GetSession() == e.ID })
		if own < 0 {
			t.Fatalf("%s does not know the session: %s", address, line)
		}
		if a := m.GetSessions()[own].GetActivity(); len(a) != 1 || !(a[0].GetUnitRate() > 0) || !(a[0].GetModels()[0].GetResultRate() > 0) || !(a[0].GetModels()[0].GetLatencyP95() > 0) {
			t.Errorf("activity at %s: %v", address, a)
		}
	}
	drawing := stack.Command(t, "", explainLimit, ctl, "explain", e.ID, "echo", fmt.Sprint(e.sent), "--edge", s.EdgeGRPC)
	if !containsAll(drawing, "echo: RESULT after", "infer", "why: The model answered.", "█") {
		t.Errorf("sluicectl explain:\n%s", drawing)
	}
	t.Log("\n" + drawing)
}

// routerCauses are the ends that come of a router's: it is stopped, and then killed, so they are the last.
func routerCauses(s *stack.Stack) []cause {
	return []cause{
		{"ROUTER_LOST", []sluicev1.Life_Stage{sluicev1.Life_OUTWARD}, "echo", tensorType, func(e *explained) {
			s.Router.Freeze(e.t)
			e.send(provoking())
		}, false},
		{"NO_ROUTER", []sluicev1.Life_Stage{sluicev1.Life_TURN, sluicev1.Life_SLOT}, "echo", tensorType, func(e *explained) {
			s.Router.Kill(e.t)
			stack.Eventually(e.t, outcomeLimit, "a frame finds no router", func() error {
				e.send(provoking())
				o := e.outcomeSoon()
				if o == nil || verdictOf(o) != "NO_ROUTER" {
					return fmt.Errorf("outcome %v", o)
				}
				e.outcomes <- o
				return nil
			})
		}, false},
	}
}

// explainReady tells whether the edge has learnt of a model.
func explainReady(s *stack.Stack) (models []json.RawMessage, err error) {
	response, err := http.Get(s.HTTP + "/models")
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var m struct{ Models []json.RawMessage }
	if err := json.NewDecoder(response.Body).Decode(&m); err != nil {
		return nil, err
	}
	if len(m.Models) == 0 {
		return nil, errors.New("no models yet")
	}
	return m.Models, nil
}
