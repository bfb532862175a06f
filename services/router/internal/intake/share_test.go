package intake

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/router/internal/dispatch"
)

// shared notes the shares of the frames that are submitted.
type shared struct {
	strict
	shares *[]media.Share
}

func (s shared) Submit(f *dispatch.Frame) {
	*s.shares = append(*s.shares, f.Share)
	s.strict.Submit(f)
}

// TestFramesHaveTheSessionsShare opens calls with what a session may be due.
func TestFramesHaveTheSessionsShare(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		open *sluicev1.Open
		want media.Share
	}{
		"none":           {&sluicev1.Open{}, media.Share{}},
		"both":           {&sluicev1.Open{Weight: new(uint32(4)), Class: new(uint32(1))}, media.Share{Weight: 4, Class: 1}},
		"beyond bounds":  {&sluicev1.Open{Weight: new(uint32(1 << 20)), Class: new(uint32(256))}, media.Share{Weight: media.MaxWeight, Class: media.MaxClass}},
		"weight of none": {&sluicev1.Open{Weight: new(uint32(0))}, media.Share{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []media.Share
			d := shared{strict{t}, &got}
			s, err := New(Config{Dispatcher: d, Window: 1, Outbox: 4, Streams: 1, Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			call := newCall(s, "s", nil)
			call.share = shareOf(c.open)
			call.refit(d.Models(), d.Inputs())
			m := frame("camera", 1, 1, 200*ms, "faces")
			request := &wire.Request{
				Message: &sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Frame{Frame: m}}, Payload: media.Payload{m.GetPayload()}, Release: func() {},
			}
			m.Payload = nil
			if err := call.accept(request, time.Now()); err != nil || len(got) != 1 || got[0] != c.want {
				t.Errorf("shares %+v (%v), want %+v", got, err, c.want)
			}
		})
	}
}
