package oip_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/proto/gen/inference"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
	"github.com/sluice-dev/sluice/services/router/internal/backend/oip"
)

// asked collects the parameters of the requests that a server gets.
type asked struct {
	mu         sync.Mutex
	parameters []string
	ids        map[string]bool
}

func (a *asked) ask(r *inference.ModelInferRequest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.parameters = append(a.parameters, r.GetParameters()["sluice_frames"].GetStringParam())
	a.ids[r.GetId()] = true
}

// origins makes a batch of frames of several streams, whose pictures say where they belong in it.
func origins() []backend.Frame {
	captured := time.Date(2026, 11, 22, 13, 41, 18, 123_456_789, time.FixedZone("", 3600))
	frames := backendtest.Frames(make([]byte, 12), make([]byte, 12), make([]byte, 12))
	for i := range frames {
		frames[i].Payload[0][0] = byte(i)
	}
	frames[0].Session, frames[0].Stream, frames[0].Sequence = "one", "camera", 7
	frames[1].Session, frames[1].Stream, frames[1].Sequence = "two", `a "quoted" stream`, 1
	frames[1].Captured, frames[1].Clock = captured, media.ClockAbsCapture
	frames[2].Session, frames[2].Stream, frames[2].Sequence = "one", "screen", 4_000_000_000
	frames[2].Captured, frames[2].Clock = captured, media.ClockSenderReport
	frames[2].RTP = media.RTP{Valid: true, SSRC: 4_294_967_295, Timestamp: 0}
	return frames
}

func TestCorrelate(t *testing.T) {
	t.Parallel()
	config := small()
	config.MaxBatch = 3
	for _, correlate := range []bool{false, true} {
		a := &asked{ids: map[string]bool{}}
		address := backendtest.Serve(t, &backendtest.Server{Model: "small", Driver: backendtest.NewFake("fake", config), Asked: a.ask})
		model, err := backend.New(config, open(t, oip.Config{Target: address, Model: "small", Correlate: correlate}))
		if err != nil {
			t.Fatal(err)
		}
		defer model.Close()
		if err := model.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		reply, err := model.Infer(t.Context(), 0, origins())
		if err != nil {
			t.Fatal(err)
		}
		reply.Release()
		trials, told := a.parameters[:len(a.parameters)-1], a.parameters[len(a.parameters)-1]
		if len(trials) < 2 || len(a.ids) != len(a.parameters) || strings.Join(trials, "") != "" {
			t.Fatalf("parameters %q of requests %v, want trials without origin first, and an id for each request", a.parameters, a.ids)
		}
		if !correlate {
			if told != "" {
				t.Errorf("the server is told %s, and nobody asked for it", told)
			}
			continue
		}
		var got []map[string]any
		if err := json.Unmarshal([]byte(told), &got); err != nil {
			t.Fatalf("%s: %v", told, err)
		}
		const captured = "2026-11-22T12:41:18.123456789Z"
		want := []map[string]any{
			{"session": "one", "stream": "camera", "sequence": 7.0},
			{"session": "two", "stream": `a "quoted" stream`, "sequence": 1.0, "captureTime": captured, "clock": "ABS_CAPTURE"},
			{
				"session": "one", "stream": "screen", "sequence": 4e9, "captureTime": captured, "clock": "SENDER_REPORT",
				"rtpTimestamp": 0.0, "ssrc": 4294967295.0,
			},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("the server is told\n%v\nwant\n%v", got, want)
		}
	}
}
