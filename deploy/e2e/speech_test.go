//go:build e2e

package e2e

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// span is a stretch of speech in seconds.
type span struct{ Start, End float64 }

// spoken is the truth about the clips of speech (deploy/e2e/clips/voice.py).
func spoken(t *testing.T) (seconds float64, speech []span) {
	t.Helper()
	text, err := os.ReadFile(stack.Clip(t, "voice.json"))
	if err != nil {
		t.Fatal(err)
	}
	var truth struct {
		Seconds float64
		Speech  []span
	}
	if err := json.Unmarshal(text, &truth); err != nil || len(truth.Speech) < 3 {
		t.Fatalf("voice.json: %v: %s", err, text)
	}
	return truth.Seconds, truth.Speech
}

// Show 5: spoken sentences through Opus, with silence that is not sent and one packet in twenty lost: speech is where it was spoken, and nowhere else, and every sample of the way from
// the first timestamp to the last is in exactly one window. The same as raw samples over a data channel.
func TestSpeech(t *testing.T) {
	t.Parallel()
	const (
		tolerance = 0.1          // seconds
		ticks     = 48000        // RTP ticks a second of Opus
		window    = 512          // samples at
		rate      = 16000        // a second (deploy/config/router.yaml)
		hop       = ticks / rate // ticks a sample
	)
	seconds, truth := spoken(t)
	s := stack.Start(t, stack.Options{})
	for _, c := range []struct {
		name, clip string
		arguments  []string
		lossy      bool
		opus       bool
	}{
		{"DTX-and-loss", "voice.ogg", []string{"--loss", "5%", "--seed", "1"}, true, true},
		{"DTX-and-other-loss", "voice.ogg", []string{"--loss", "5%", "--seed", "2"}, true, true},
		{"by-ffmpeg", "voice.opus", nil, false, true},
		{"raw", "voice.wav", nil, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			beside(t, 0.1)
			arguments := append([]string{stack.Clip(t, c.clip), "--model", "speech"}, c.arguments...)
			p, lines := publish(t, "", s.HTTP, time.Duration(seconds*float64(time.Second)), arguments...)
			checkAccount(t, p)
			r := p.Streams[0]
			t.Logf("sent %d packets, lost %d; %d outcomes, drops %v; latency %+v; speech %+v, truth %v", r.SoundSent, r.Lost, r.Outcomes, r.Drops, r.Latency, r.Speech, truth)
			if c.lossy != (r.Lost > 0) || r.Lost*100 > r.SoundSent*10 {
				t.Errorf("%d of %d packets were lost", r.Lost, r.SoundSent)
			}
			if len(r.Speech) != 1 || len(r.Speech[0].Spans) != len(truth) {
				t.Fatalf("heard %+v, want %d spans of speech", r.Speech, len(truth))
			}
			for i, got := range r.Speech[0].Spans {
				if want := truth[i]; math.Abs(got.Start-want.Start) > tolerance || math.Abs(got.End-want.End) > tolerance {
					t.Errorf("speech %d from %.3f to %.3f s, spoken from %.3f to %.3f s", i, got.Start, got.End, want.Start, want.End)
				}
			}

			// One outcome for each window, and the windows lie end to end. Of the silence at the end, Opus sends a packet every 400 ms; what comes after the last one is not known to be there.
			slices.SortFunc(lines, func(a, b outcomeLine) int { return a.Outcome.Sequence - b.Outcome.Sequence })
			if want := int((seconds-0.6)*rate) / window; len(lines) < want {
				t.Errorf("%d windows of %g seconds, want %d or more", len(lines), seconds, want)
			}
			// The first may come before the router has named its models, as checkCounts allows; from then on there is no gap.
			for i, l := range lines {
				if l.Outcome.Sequence != lines[0].Outcome.Sequence+i {
					t.Fatalf("window %d after the first, which is numbered %d, is numbered %d", i, lines[0].Outcome.Sequence, l.Outcome.Sequence)
				}
				if apart := l.Outcome.RTPTimestamp - lines[0].Outcome.RTPTimestamp; c.opus && apart != uint32(i*window*hop) {
					t.Fatalf("window %d begins %d ticks after the first, want %d", i+1, apart, i*window*hop)
				}
			}
		})
	}
}

// Picture and sound of one session go to a model each.
func TestPictureAndSound(t *testing.T) {
	beside(t, 0.4)
	seconds, truth := spoken(t)
	s := stack.Start(t, stack.Options{})
	p, lines := publish(t, "", s.HTTP, time.Duration(seconds*float64(time.Second)), stack.Clip(t, "faces-720p30.ivf"), stack.Clip(t, "voice.ogg"), "--model", "faces", "--model", "speech")
	checkAccount(t, p)
	r := p.Streams[0]
	models := map[string]map[string]int{}
	for _, l := range lines {
		if models[l.Outcome.Stream] == nil {
			models[l.Outcome.Stream] = map[string]int{}
		}
		models[l.Outcome.Stream][l.Outcome.Model]++
	}
	t.Logf("outcomes by stream and model: %v; speech %+v", models, r.Speech)
	if len(models) != 2 || models["video"]["faces"] < int(10*seconds) || models["audio"]["speech"] < int(28*seconds) || len(models["video"])+len(models["audio"]) != 2 {
		t.Errorf("outcomes by stream and model: %v", models)
	}
	if len(r.Speech) != 1 || len(r.Speech[0].Spans) != len(truth) {
		t.Errorf("heard %+v, want %d spans of speech", r.Speech, len(truth))
	}
	if best, residuals := bestShift(lines); best != 0 {
		t.Errorf("the boxes lie best on the path when shifted by %d frames: %v", best, residuals)
	}
}
