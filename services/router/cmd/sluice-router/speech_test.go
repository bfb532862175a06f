package main

import (
	"slices"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
)

// The test's speech: a second of silence, a sentence, a second of silence, at 16 kHz.
const (
	sampleRate = 16000
	silence    = sampleRate // samples, before and after
)

// voice is what one stream says, cut into windows.
type voice struct {
	stream  string
	windows [][]byte
	ends    int // sample after which nobody speaks
}

func voices(t *testing.T) []voice {
	t.Helper()
	var list []voice
	for name, text := range map[string]string{
		"en":    "Sluice carries live media from browsers and cameras to model servers, and the answers back, before they are stale.",
		"en+f3": "Every accepted frame ends in exactly one outcome: a result, a drop with its reason, or an error with its code.",
		"en+m4": "Nobody ever waits behind a stale frame.",
	} {
		spoken := backendtest.Spoken(t, name, text)
		samples := slices.Concat(make([]byte, 2*silence), spoken, make([]byte, 2*silence))
		list = append(list, voice{name, backendtest.Windows(backendtest.SpeechInput(), samples), silence + len(spoken)/2})
	}
	return list
}

// hear sends the windows of voices through one call, several of each at a time, and gives the probabilities of speech by stream and the largest batch.
func hear(t *testing.T, r *running, session string, voices ...voice) (map[string][]float64, int) {
	t.Helper()
	stream, err := sluicev1.NewRouterServiceClient(r.conn).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := &edge{t: t, stream: stream}
	if err := stream.Send(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Open{Open: &sluicev1.Open{Session: new(session), Models: []string{"speech"}}}}); err != nil {
		t.Fatal(err)
	}
	opened := e.recv().GetOpened()
	if len(opened.GetInputs()) != 1 {
		t.Fatalf("opened %v, want the one input of speech", opened)
	}
	if e.input, err = wire.InputFromProto(opened.GetInputs()[0]); err != nil || e.input.Form != media.SoundForm(backendtest.SpeechInput()) {
		t.Fatalf("input %+v, %v", e.input, err)
	}
	heard, largest := make(map[string][]float64), 0
	const together = 8
	for begin := 0; ; begin += together {
		sent := 0
		for i := begin; i < begin+together; i++ {
			for _, v := range voices {
				if i < len(v.windows) {
					e.say(v, i)
					sent++
				}
			}
		}
		if sent == 0 {
			_ = stream.CloseSend()
			return heard, largest
		}
		for range sent {
			o := e.outcome()
			if o.Result == nil || len(o.Result.Speech) != 1 || int(o.Sequence) != len(heard[o.Stream])+1 {
				t.Fatalf("%+v, want the probability for window %d of stream %s", o, len(heard[o.Stream])+1, o.Stream)
			}
			heard[o.Stream] = append(heard[o.Stream], o.Result.Speech[0].Probability)
			largest = max(largest, o.BatchSize)
		}
	}
}

// say sends a window.
func (e *edge) say(v voice, i int) {
	e.t.Helper()
	now := time.Now()
	f := media.Frame{
		Stream: v.stream, Sequence: uint32(i + 1), InputID: e.input.ID, Due: []media.Due{{Model: "speech", Deadline: now.Add(30 * time.Second)}},
		FirstSample: uint32(i * e.input.Sound.Hop), Payload: media.Payload{v.windows[i]},
	}
	if err := e.stream.Send(&sluicev1.StreamRequest{Body: &sluicev1.StreamRequest_Frame{Frame: wire.FrameToProto(&f, now)}}); err != nil {
		e.t.Fatal(err)
	}
}

// TestSpeechOfStreams runs the shipped configuration, with time enough for a busy machine. Speech is found where somebody speaks and nowhere else, and three streams in
// one batch get what each of them gets alone, to the last bit.
func TestSpeechOfStreams(t *testing.T) {
	r := launch(t, "--config", shipped(t, "deadline: 500ms", "deadline: 30s"))
	voices := voices(t)
	together, batch := hear(t, r, "together", voices...)
	if batch != len(voices) {
		t.Errorf("the largest batch was of %d, want all %d streams in one", batch, len(voices))
	}
	for _, v := range voices {
		alone, _ := hear(t, r, "alone-"+v.stream, v)
		if !slices.Equal(alone[v.stream], together[v.stream]) {
			t.Errorf("stream %s: other probabilities in batches than alone", v.stream)
		}
		judge(t, v, alone[v.stream])
	}
}

// judge compares probabilities with the truth, but for the 100 ms around the places where it changes.
func judge(t *testing.T, v voice, probabilities []float64) {
	t.Helper()
	const margin = sampleRate / 10
	in := backendtest.SpeechInput()
	speech, heard := 0, 0
	for i, p := range probabilities {
		first, last := i*in.Hop, i*in.Hop+in.Window
		switch {
		case first > silence+margin && last < v.ends-margin:
			speech++
			if p > 0.5 {
				heard++
			}
		case (last < silence-margin || first > v.ends+3*margin) && p > 0.5:
			t.Errorf("stream %s: speech of %.2f in silence, at %.2f s", v.stream, p, float64(first)/sampleRate)
		}
	}
	if speech < 30 || heard < speech*9/10 { // there are pauses between words
		t.Errorf("stream %s: speech in %d of the %d windows in which somebody speaks", v.stream, heard, speech)
	}
	t.Logf("stream %s: speech in %d of %d windows", v.stream, heard, speech)
}
