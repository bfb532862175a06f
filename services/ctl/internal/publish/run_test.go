package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/ctl/internal/clip"
	"github.com/sluice-dev/sluice/services/ctl/internal/edgetest"
	"github.com/sluice-dev/sluice/services/ctl/internal/speech"
	"github.com/sluice-dev/sluice/services/ctl/internal/whip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// vp8 and h264 are clips whose units are texts. The second unit of each takes several packets.
func vp8() *clip.Clip {
	return &clip.Clip{Codec: media.VP8, Units: [][]byte{[]byte("one"), []byte(strings.Repeat("two ", mtu)), []byte("three")}, Rate: 100}
}

func h264() *clip.Clip {
	c := vp8()
	c.Codec = media.H264
	for i, text := range c.Units {
		c.Units[i] = slices.Concat([]byte{0, 0, 0, 1, 0x41}, text)
	}
	return c
}

func h265() *clip.Clip {
	c := vp8()
	c.Codec = media.H265
	for i, text := range c.Units {
		c.Units[i] = slices.Concat([]byte{0, 0, 0, 1, 2, 1}, text)
	}
	return c
}

func config(t *testing.T, e *edgetest.Edge, token string, clips ...*clip.Clip) Config {
	t.Helper()
	client, err := whip.NewClient(e.URL, token)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Edges: []*whip.Client{client}, Clips: clips, Streams: 1, Duration: 300 * time.Millisecond}
}

// written are the outcomes as Config.Outcomes gets them.
type written struct {
	Publisher, Frame, ClipFrame int
	Seconds, Latency            float64
	Outcome                     struct {
		Session, Stream string
		Result          *struct{ JSON []string }
	}
}

func parse(t *testing.T, text string) (all []written) {
	t.Helper()
	for row := range strings.Lines(text) {
		var l written
		if err := json.Unmarshal([]byte(row), &l); err != nil {
			t.Fatalf("%v: %s", err, row)
		}
		all = append(all, l)
	}
	return all
}

// TestRun publishes to an edge and holds its account against the edge's, and each answer against the frame that it is said to be for.
func TestRun(t *testing.T) {
	for name, c := range map[string]*clip.Clip{"VP8": vp8(), "H264": h264(), "H265": h265()} {
		t.Run(name, func(t *testing.T) {
			e := edgetest.Start(t, edgetest.Options{Token: "sesame"})
			cfg := config(t, e, "sesame", c)
			var outcomes bytes.Buffer
			cfg.Streams, cfg.Models, cfg.Outcomes = 2, []string{"faces"}, &outcomes
			reports, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			total := uint32(0)
			for i, r := range reports {
				if r.Failure != "" || r.Session == "" || r.Sent != 30 {
					t.Errorf("stream %d: session %q sent %d, want 30; failure %q", i, r.Session, r.Sent, r.Failure)
				}
				checkAccount(t, r)
				total += r.Outcomes
			}
			if reports[0].Session == reports[1].Session {
				t.Errorf("both streams are session %q", reports[0].Session)
			}
			if !slices.Equal(e.Models(), cfg.Models) || e.Ended() != 2 {
				t.Errorf("asked for models %q, ended %d sessions; want %q and 2", e.Models(), e.Ended(), cfg.Models)
			}
			checkLines(t, reports, c, parse(t, outcomes.String()), total)
		})
	}
}

// checkAccount compares what the publisher counted with the edge's summary. The last frames may be on their way when the edge is told bye.
func checkAccount(t *testing.T, r Report) {
	t.Helper()
	if len(r.Edge) != 1 || len(r.Edge[0].Models) != 1 {
		t.Fatalf("the edge's counts: %+v", r.Edge)
	}
	s, m := r.Edge[0], r.Edge[0].Models[0]
	if s.Received > r.Sent || s.Received < r.Sent/2 {
		t.Errorf("%d sent and %d received", r.Sent, s.Received)
	}
	if r.Outcomes != m.Accepted || r.Results != m.Results || r.Drops["SUPERSEDED"] != m.Drops[media.Superseded] ||
		r.Errors["BACKEND_TIMEOUT"] != m.Errors[media.BackendTimeout] || r.Duplicates != 0 || r.Skipped != 0 {
		t.Errorf("counted %+v, the edge %+v", r, m)
	}
	if r.Results == 0 || r.Drops["SUPERSEDED"] == 0 || r.Errors["BACKEND_TIMEOUT"] == 0 || !(r.Latency.P50 > 0 && r.Latency.P50 <= r.Latency.P99) {
		t.Errorf("report %+v: want some of each end, and latencies", r)
	}
}

func checkLines(t *testing.T, reports []Report, c *clip.Clip, lines []written, total uint32) {
	t.Helper()
	if len(lines) != int(total) {
		t.Errorf("%d lines for %d outcomes", len(lines), total)
	}
	for _, l := range lines {
		if l.ClipFrame != l.Frame%len(c.Units) || !(l.Latency > 0) || l.Outcome.Session != reports[l.Publisher].Session {
			t.Errorf("line %+v", l)
		}
		want := string(bytes.ToValidUTF8(c.Units[l.ClipFrame], []byte("?")))
		if l.Outcome.Result != nil && l.Outcome.Result.JSON[0] != want {
			t.Errorf("frame %d, of the clip %d, was answered as %.20q, want %.20q", l.Frame, l.ClipFrame, l.Outcome.Result.JSON[0], want)
		}
	}
}

// voice is a clip of two seconds of sound: packets of 20 ms of Opus, some with speech, some with silence that is not sent.
func voice() *clip.Clip {
	c := &clip.Clip{Codec: media.Opus, Sound: &clip.Sound{Clock: clip.OpusClock, Channels: 1, Skip: 480}}
	for n := range 100 {
		packet := []byte{0x0c << 3, 0, 0} // one frame of 20 ms
		switch {
		case n >= 30 && n < 60:
			packet[1] = edgetest.Spoken
		case n < 15:
			packet = packet[:1]
		}
		c.Units, c.Sound.Ticks = append(c.Units, packet), append(c.Sound.Ticks, 960)
	}
	return c
}

// TestRunWithSound publishes sound alone and beside pictures: the report tells where in the clip speech was.
func TestRunWithSound(t *testing.T) {
	for name, clips := range map[string][]*clip.Clip{"alone": {voice()}, "with pictures": {vp8(), voice()}} {
		t.Run(name, func(t *testing.T) {
			e := edgetest.Start(t, edgetest.Options{})
			cfg := config(t, e, "", clips...)
			var outcomes bytes.Buffer
			cfg.Duration, cfg.Outcomes = 2100*time.Millisecond, &outcomes
			reports, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			r := reports[0]
			if r.SoundSent != 85 || r.Lost != 0 || (len(clips) > 1) != (r.Sent > 0) || len(r.Edge) != len(clips) {
				t.Errorf("report %+v", r)
			}
			// The clip's first ten milliseconds are the encoder's.
			want := []speech.Span{{Start: 590 * time.Millisecond, End: 1190 * time.Millisecond, Peak: 0.9}}
			if len(r.Speech) != 1 || r.Speech[0].Model != "speech" || !slices.Equal(r.Speech[0].Spans, want) {
				t.Errorf("heard %+v, want %+v", r.Speech, want)
			}
			if text := Table(reports); !strings.Contains(text, "0.590") || !strings.Contains(text, "1.190") {
				t.Errorf("the table does not tell when somebody spoke:\n%s", text)
			}
			var summary bytes.Buffer
			if err := WriteJSON(&summary, reports); err != nil || !strings.Contains(summary.String(), `"start": 0.59,`) {
				t.Errorf("%v: %s", err, summary.String())
			}
			for _, l := range parse(t, outcomes.String()) {
				if l.Outcome.Stream == "audio" && l.Seconds < 0.29-1e-9 {
					t.Errorf("line %+v: before the first packet that was sent", l)
				}
			}
		})
	}
}

// TestRunLosesPackets loses the same packets for the same seed, and others for another.
func TestRunLosesPackets(t *testing.T) {
	heard := func(seed uint64) (sequences []float64, lost uint32) {
		e := edgetest.Start(t, edgetest.Options{})
		cfg := config(t, e, "", voice())
		var outcomes bytes.Buffer
		cfg.Duration, cfg.Outcomes, cfg.Loss, cfg.Seed = 1500*time.Millisecond, &outcomes, 0.3, seed
		reports, err := Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range parse(t, outcomes.String()) {
			if l.Seconds < 1.3 { // the last ones may be on their way when the edge is told bye
				sequences = append(sequences, l.Seconds)
			}
		}
		return sequences, reports[0].Lost
	}
	first, lost := heard(1)
	again, _ := heard(1)
	other, _ := heard(2)
	if lost < 5 || lost > 40 {
		t.Errorf("%d of 59 packets were lost, want about 18", lost)
	}
	if !slices.Equal(first, again) || slices.Equal(first, other) {
		t.Errorf("with one seed %v and %v arrived, with another %v", first, again, other)
	}
}

// TestRunSendsAgain loses a third of the packets on the way to an edge that asks for them again: nearly all arrive after all.
func TestRunSendsAgain(t *testing.T) {
	e := edgetest.Start(t, edgetest.Options{Asks: true})
	c := vp8()
	c.Units = c.Units[:1] // a packet each
	cfg := config(t, e, "", c)
	cfg.Duration, cfg.Loss, cfg.Seed = 2*time.Second, 0.3, 1
	reports, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	// The last losses are noticed when the edge has been told bye.
	if r := reports[0]; r.Sent != 200 || r.Lost < 40 || len(r.Edge) != 1 || r.Edge[0].Received < 170 {
		t.Errorf("%d packets sent, %d lost on the way; the edge has %+v, want at least 170", r.Sent, r.Lost, r.Edge)
	}
}

func TestRunRefused(t *testing.T) {
	e := edgetest.Start(t, edgetest.Options{Token: "sesame"})
	reports, err := Run(t.Context(), config(t, e, "wrong", vp8()))
	if err == nil || !strings.Contains(err.Error(), "401 UNAUTHORIZED: send a token") {
		t.Errorf("error %v, want the edge's words", err)
	}
	if len(reports) != 1 || reports[0].Sent != 0 || reports[0].Failure != err.Error() {
		t.Errorf("reports %+v, want one with the failure", reports)
	}
}

func TestRunWhenTheEdgeHangsUp(t *testing.T) {
	e := edgetest.Start(t, edgetest.Options{HangUpAfter: 3})
	cfg := config(t, e, "", vp8())
	cfg.Duration = time.Hour
	reports, err := Run(t.Context(), cfg)
	if err == nil || len(reports) != 1 || reports[0].Failure != err.Error() || !strings.Contains(reports[0].Failure, "the edge ended the connection") {
		t.Errorf("reports %+v, error %v; want a failure that names the edge", reports, err)
	}
}

// onFirst calls then at the first outcome.
type onFirst struct {
	once sync.Once
	then func()
}

func (o *onFirst) Write(b []byte) (int, error) {
	o.once.Do(o.then)
	return len(b), nil
}

// TestRunInterrupted stops in the middle, as Ctrl-C does: the session ends in order, with its summary.
func TestRunInterrupted(t *testing.T) {
	e := edgetest.Start(t, edgetest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg := config(t, e, "", vp8())
	cfg.Duration, cfg.Outcomes = time.Hour, &onFirst{then: cancel}
	reports, err := Run(ctx, cfg)
	if err != nil || len(reports) != 1 || reports[0].Failure != "" || reports[0].Edge == nil || e.Ended() != 1 {
		t.Errorf("reports %+v, error %v, %d sessions ended; want one in order with the edge's counts", reports, err, e.Ended())
	}
}

// TestRunInterruptedBeforeTheConnection ends while the edge does not answer.
func TestRunInterruptedBeforeTheConnection(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e := edgetest.Start(t, edgetest.Options{})
	reports, err := Run(ctx, config(t, e, "", vp8()))
	if err == nil || len(reports) != 1 || reports[0].Failure == "" {
		t.Errorf("reports %s, error %v; want a failure", fmt.Sprint(reports), err)
	}
}
