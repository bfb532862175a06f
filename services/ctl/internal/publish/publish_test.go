package publish

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

func TestTally(t *testing.T) {
	t.Parallel()
	tally, start := newTally(), time.Unix(0, 0)
	for n := range 4 {
		tally.Sent(0, uint32(100+n), n, start.Add(time.Duration(n)*time.Second))
	}
	outcome := func(sequence, rtp uint32) media.Outcome {
		return media.Outcome{Session: "s", Stream: "video", Sequence: sequence, Model: "faces", RTP: media.RTP{Valid: true, Timestamp: rtp}}
	}
	result, drop, failed := outcome(1, 100), outcome(2, 101), outcome(3, 102)
	result.Result, drop.Drop, failed.Error = &media.Result{}, media.Expired, media.BackendTimeout
	sent, latency, ok := tally.Outcome(0, result, start.Add(40*time.Millisecond))
	if sent != (frame{}) || latency != 40*time.Millisecond || !ok {
		t.Errorf("outcome of frame %+v after %s, %v", sent, latency, ok)
	}
	tally.Outcome(0, drop, start)
	tally.Outcome(0, failed, start)
	tally.Outcome(0, failed, start)
	stranger := outcome(9, 999)
	stranger.Result = &media.Result{}
	if _, _, ok := tally.Outcome(0, stranger, start); ok {
		t.Error("an outcome for a frame that was never sent was matched")
	}
	tally.Skipped(3)
	r := tally.Report(start)
	if r.Sent != 4 || r.Outcomes != 5 || r.Results != 2 || r.Drops["EXPIRED"] != 1 || r.Errors["BACKEND_TIMEOUT"] != 2 || r.Skipped != 3 || r.Duplicates != 1 || r.Latency.P50 != 0.04 {
		t.Errorf("report %+v", r)
	}
}

func TestTallyForgetsOldFrames(t *testing.T) {
	t.Parallel()
	tally := newTally()
	for n := range 3 * keptSent {
		tally.Sent(0, uint32(n), n, time.Unix(0, 0))
	}
	if len(tally.sentAt) != keptSent || len(tally.order) != keptSent {
		t.Errorf("%d frames remembered, want %d", len(tally.sentAt), keptSent)
	}
}

func TestQuantiles(t *testing.T) {
	t.Parallel()
	var values []time.Duration
	for n := 100; n > 0; n-- {
		values = append(values, time.Duration(n)*time.Millisecond)
	}
	if q := quantiles(values); q.P50 != 0.05 || q.P95 != 0.095 || q.P99 != 0.099 {
		t.Errorf("quantiles %+v", q)
	}
	if q := quantiles(nil); q != (Quantiles{}) {
		t.Errorf("quantiles of nothing: %+v", q)
	}
}

func TestReports(t *testing.T) {
	t.Parallel()
	counts := media.ModelCounts{Model: "faces", Accepted: 2, Results: 1, NotSampled: 3}
	counts.Drops[media.Expired] = 1
	reports := []Report{
		{Session: "abc", Sent: 5, Outcomes: 2, Results: 1, Drops: map[string]uint32{"EXPIRED": 1}, Errors: map[string]uint32{}, Latency: Quantiles{P50: 0.0421}, Edge: []media.StreamCounts{{Stream: "video", Received: 5, NotDue: 3, Accepted: 2, Models: []media.ModelCounts{counts}}}},
		{Failure: "the edge refused"},
	}
	table := Table(reports)
	for _, want := range []string{"abc", "EXPIRED 1", "42.1", "the edge refused"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	var b bytes.Buffer
	if err := WriteJSON(&b, reports); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Streams []struct {
			Failure string
			Summary struct {
				Streams []struct{ Received, NotDue, Accepted int }
			}
		}
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if s := got.Streams[0].Summary.Streams[0]; s.Received != 5 || s.NotDue != 3 || s.Accepted != 2 || got.Streams[1].Failure == "" {
		t.Errorf("JSON: %s", b.String())
	}
}
