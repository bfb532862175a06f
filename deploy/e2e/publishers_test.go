//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// heard is an outcome as a client gets it, with what the tests look at.
type heard struct {
	Stream, Model string
	Sequence      int
	Result        *struct {
		Detections []json.RawMessage
		Speech     []struct{ Probability float64 }
	}
	Drop  *struct{ Reason string }
	Error *struct{ Code string }
}

// report is what came of a session with the faces' clip, the voice's, or both, whoever published it.
type report struct {
	Outcomes []heard
	Summary  summary
}

type summary struct{ Streams []streamCounts }

// check fails unless the session got a face in nearly every one of that many results, as many windows of speech and of silence, and one outcome for every unit that was due.
func (r *report) check(t *testing.T, results, spoken, silent int) {
	t.Helper()
	type counts struct{ results, faces, spoken, silent int }
	var got counts
	ends, seen := map[string]int{}, map[string]bool{}
	for _, o := range r.Outcomes {
		unit := fmt.Sprint(o.Stream, o.Sequence, o.Model)
		if seen[unit] {
			t.Errorf("a second outcome for one unit: %+v", o)
		}
		seen[unit] = true
		switch {
		case o.Drop != nil:
			ends[o.Drop.Reason]++
		case o.Error != nil:
			ends[o.Error.Code]++
		case o.Result == nil:
			t.Errorf("an outcome that says nothing: %+v", o)
		case o.Model == "faces":
			got.results++
			got.faces += min(1, len(o.Result.Detections))
		case len(o.Result.Speech) == 1 && o.Result.Speech[0].Probability >= 0.5:
			got.spoken++
		default:
			got.silent++
		}
	}
	t.Logf("%d outcomes: %+v, others %v; %+v", len(r.Outcomes), got, ends, r.Summary)
	if got.results < results || got.faces*100 < got.results*95 {
		t.Errorf("%d results, %d with a face: want %d, and a face in 95 of 100", got.results, got.faces, results)
	}
	if got.spoken < spoken || got.silent < silent {
		t.Errorf("%d windows of sound with speech and %d without, want %d and %d", got.spoken, got.silent, spoken, silent)
	}
	finalised := 0
	for _, c := range r.Summary.Streams {
		finalised += checkCounts(t, c)
	}
	if finalised != len(r.Outcomes) || finalised == 0 {
		t.Errorf("%d outcomes came of %d finalised", len(r.Outcomes), finalised)
	}
}

// reported has curl, with further flags, read the one session at an edge, from the first message that is kept to its end. Edge and curl may be in network namespaces. The channel gives
// the report once; a failure fails the test.
func reported(t *testing.T, s *stack.Stack, server, client string, flags ...string) <-chan report {
	t.Helper()
	session := onlySession(t, s, server)
	done := make(chan report, 1)
	go func() { // ends with curl, which has a limit
		arguments := append([]string{"-sSfN", "--max-time", "50", "-H", "Last-Event-ID: 0", s.HTTP + "/sessions/" + session + "/results"}, flags...)
		out, err := stack.TryCommand(t, client, time.Minute, "curl", arguments...)
		if err != nil {
			t.Errorf("%v", err)
		}
		var r report
		for line := range strings.Lines(out) {
			if data, is := strings.CutPrefix(line, "data: "); is {
				r.add(t, data)
			}
		}
		done <- r
	}()
	return done
}

// noSession waits until the edge has none, so that the next one is the only one.
func noSession(t *testing.T, s *stack.Stack) {
	t.Helper()
	stack.Eventually(t, 20*time.Second, "the sessions have ended", func() error {
		if n := s.Metric(t, s.EdgeAdmin, "sluice_edge_sessions"); n != 0 {
			return fmt.Errorf("there are %g", n)
		}
		return nil
	})
}

// add takes a server message.
func (r *report) add(t *testing.T, text string) {
	t.Helper()
	var message struct {
		Outcome *heard
		Summary *summary
	}
	if err := json.Unmarshal([]byte(text), &message); err != nil {
		t.Errorf("%v in %.300s", err, text)
	}
	if message.Outcome != nil {
		r.Outcomes = append(r.Outcomes, *message.Outcome)
	}
	if message.Summary != nil {
		r.Summary = *message.Summary
	}
}

// FFmpeg's own WHIP, on a host of its own: H.264 and Opus, DTLS with the roles turned round, one candidate.
func TestFFmpegPublishes(t *testing.T) {
	beside(t, 0.5)
	server, client := hosts(t)
	folder := filepath.Join(stack.Root(t), "deploy", "e2e")
	environment := strings.TrimSpace(stack.Command(t, "", 10*time.Minute, filepath.Join(folder, "venv.sh"), "ffmpeg"))
	programs, err := filepath.Glob(filepath.Join(environment, "lib", "python3*", "site-packages", "imageio_ffmpeg", "binaries", "ffmpeg-*"))
	if err != nil || len(programs) != 1 {
		t.Fatalf("there is no FFmpeg in %s: %v", environment, programs)
	}
	for _, flags := range []string{"0", "dtls_active"} {
		t.Run("whip_flags="+flags, func(t *testing.T) {
			s := stack.Start(t, stack.Options{Namespace: server, Host: "10.77.0.1"})
			publisher := stack.Run(t, client, programs[0], "-nostdin", "-hide_banner", "-loglevel", "warning",
				"-re", "-i", stack.Clip(t, "faces-360p30.webm"), "-re", "-i", stack.Clip(t, "voice.wav"), "-t", "8", "-map", "0:v", "-map", "1:a",
				"-c:v", "libx264", "-profile:v", "baseline", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "30", "-bf", "0", "-b:v", "800k", "-pix_fmt", "yuv420p",
				"-c:a", "libopus", "-ar", "48000", "-ac", "2", "-b:a", "64k", "-f", "whip", "-whip_flags", flags, s.HTTP+"/whip")
			came := reported(t, s, server, client)
			stack.Eventually(t, 40*time.Second, "FFmpeg has published all", func() error {
				if !publisher.Ended() {
					return os.ErrDeadlineExceeded
				}
				return nil
			})
			publisher.Stop(t) // It has ended; its status is looked at.
			r := <-came
			r.check(t, 40, 60, 40)
		})
	}
}

// GStreamer's webrtcbin behind Meetecho's WHIP client, as Debian has it, on a host of its own: with its candidates in the offer, and with candidates that come by PATCH.
func TestGStreamerPublishes(t *testing.T) {
	beside(t, 0.5)
	server, client := hosts(t)
	for name, flags := range map[string][]string{"trickle": nil, "no-trickle": {"--no-trickle"}} {
		t.Run(name, func(t *testing.T) {
			s := stack.Start(t, stack.Options{Namespace: server, Host: "10.77.0.1"})
			came := whipClient(t, s, server, client, flags...)
			came.check(t, 40, 60, 40)
			if patches := s.Metric(t, s.EdgeAdmin, "sluice_edge_http_requests_total", "method=PATCH", "status=204"); name == "trickle" && patches == 0 {
				t.Error("no candidate came by PATCH")
			}
		})
	}
}

// whipClient publishes with that client for some seconds, from one network namespace to an edge in another.
func whipClient(t *testing.T, s *stack.Stack, server, client string, flags ...string) report {
	t.Helper()
	const (
		video = "filesrc location=%s ! matroskademux ! queue ! identity sync=true ! rtpvp8pay pt=96 picture-id-mode=15-bit ! application/x-rtp,media=video,encoding-name=VP8,payload=96"
		audio = "filesrc location=%s ! wavparse ! audioconvert ! audioresample ! identity sync=true ! opusenc ! rtpopuspay pt=100 ! application/x-rtp,media=audio,encoding-name=OPUS,payload=100"
	)
	script := filepath.Join(stack.Root(t), "deploy", "e2e", "gstreamer", "whip-client.sh")
	arguments := append([]string{
		"--preserve-status", "--signal", "INT", "9", script, "--disable-colors", "--url", s.HTTP + "/whip",
		"--video", fmt.Sprintf(video, stack.Clip(t, "faces-360p30.webm")), "--audio", fmt.Sprintf(audio, stack.Clip(t, "voice.wav")),
	}, flags...)
	noSession(t, s)
	done := make(chan error, 1)
	go func() { // ends with the program, which is told to stop after a while, as by Ctrl-C
		out, err := stack.TryCommand(t, client, 40*time.Second, "timeout", arguments...)
		if err != nil {
			err = fmt.Errorf("%w; it said %s", err, out)
		}
		done <- err
	}()
	came := reported(t, s, server, client)
	if err := <-done; err != nil {
		t.Error(err)
	}
	return <-came
}
