package uplink

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// Windows of 32 ms, so that eight and a half are in the deadline.
var (
	voice  = media.SoundInput{Rate: 16000, Window: 512, Hop: 512, Context: 64}
	speech = media.Model{Name: "speech", InputID: 20, Deadline: 272 * time.Millisecond, Ready: true}
)

const voiceEvery = 32 * time.Millisecond

// welcomeSpeech answers Open with a model that hears and one that sees. Of sound, window frames may be outstanding, of pictures one.
func (c *conversation) welcomeSpeech(window int) error {
	return c.welcome(1, []media.Model{faces, speech}, []media.Input{
		{ID: faces.InputID, Form: media.PictureForm(small)}, {ID: speech.InputID, Form: media.SoundForm(voice), Window: window},
	})
}

// window offers one window of the stream "voice".
func (s *session) window(sequence uint32) {
	s.offerFrame(media.Frame{
		Stream: "voice", Sequence: sequence, InputID: s.input("speech"), FirstSample: (sequence - 1) * uint32(voice.Hop),
		Due: []media.Due{{Model: "speech", Deadline: time.Now().Add(speech.Deadline)}},
	}, 2*voice.Samples())
}

func (s *session) voiceDrop(sequence uint32) media.DropReason {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drops[unit{"voice", sequence, "speech"}]
}

func TestSoundGoesUpInOrderWithAWindowOfItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		goOn, got := make(chan struct{}), make(chan *sluicev1.Frame, 100)
		n.start("a", func(c *conversation) error {
			if err := c.welcomeSpeech(3); err != nil {
				return err
			}
			for {
				f, err := c.frame()
				if f == nil || err != nil {
					return err
				}
				got <- f
				if f.GetStream() == "voice" {
					<-goOn
				}
				if err := c.answer(f); err != nil {
					return err
				}
			}
		})
		s := openSession(t, n.pool("a"))
		s.untilOpened()
		for sequence := range uint32(12) {
			s.window(sequence + 1)
			synctest.Wait()
		}
		for sequence := range uint32(5) { // the sound's window and line are no picture's
			s.offer(sequence+1, small.Bytes(), s.input("faces"), "faces")
			synctest.Wait() // the first goes at once; the others find it on its way
		}
		if sent := len(s.sent); sent != 3+1 {
			t.Errorf("%d frames sent without an answer, want three of sound and one picture", sent)
		}
		close(goOn)
		synctest.Wait()
		var order []uint32
		for range len(got) {
			if f := <-got; f.GetStream() == "voice" {
				order = append(order, f.GetSequence())
				if want := (f.GetSequence() - 1) * uint32(voice.Hop); f.GetFirstSample() != want || len(f.GetPayload()) != 2*voice.Samples() {
					t.Errorf("window %d begins at sample %d, has %d bytes", f.GetSequence(), f.GetFirstSample(), len(f.GetPayload()))
				}
			}
		}
		if want := []uint32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}; !slices.Equal(order, want) {
			t.Errorf("windows %v, want %v", order, want)
		}
		if drops := s.reasons(); len(drops) != 1 || drops[media.Superseded] != 3 {
			t.Errorf("drops %v, want three pictures SUPERSEDED, those between the first and the last", drops)
		}
	})
}

// A router that takes nothing for a while gets no more than what can still be answered, the newest included.
func TestAfterAnOutageNoStaleSoundIsSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		outage, sent := make(chan struct{}), make(chan string, 1000)
		n.start("a", func(c *conversation) error {
			if err := c.welcomeSpeech(2); err != nil {
				return err
			}
			last := uint32(0)
			for {
				f, err := c.frame()
				if f == nil || err != nil {
					return err
				}
				if left := f.GetDue()[0].GetRemaining(); left <= 0 || f.GetSequence() <= last {
					sent <- fmt.Sprintf("window %d after %d with %g s left", f.GetSequence(), last, left)
				}
				if last = f.GetSequence(); last == 30 {
					<-outage
				}
				if err := c.answer(f); err != nil {
					return err
				}
			}
		})
		s := openSession(t, n.pool("a"))
		s.untilOpened()
		sequence := uint32(0)
		talk := func(length time.Duration) {
			for range int(length / voiceEvery) {
				sequence++
				s.window(sequence)
				pass(voiceEvery)
			}
		}
		talk(time.Second)
		talk(400 * time.Millisecond) // less than the patience with a silent router
		during := sequence
		close(outage)
		talk(2 * time.Second)
		synctest.Wait()
		for range len(sent) {
			t.Error(<-sent)
		}
		for n := during - 6; n <= sequence; n++ { // what was younger than a deadline at the end of the outage, and all since
			if s.voiceDrop(n) != media.NotDropped || s.answers[unit{"voice", n, "speech"}] != 1 {
				t.Errorf("window %d: %q, %d answers", n, s.voiceDrop(n), s.answers[unit{"voice", n, "speech"}])
			}
		}
		if drops := s.reasons(); len(drops) != 1 || drops[media.Expired] < 2 {
			t.Errorf("drops %v, want what waited too long EXPIRED", drops)
		}
	})
}

func TestALineHoldsOneDeadline(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in       media.SoundInput
		deadline time.Duration
		want     int
	}{
		{voice, speech.Deadline, 9},
		{voice, 32 * time.Millisecond, 2},
		{voice, time.Millisecond, 1},
		{media.SoundInput{Rate: 48000, Window: 480, Hop: 1}, time.Minute, longestLine},
	} {
		if got := line(c.in, c.deadline); got != c.want {
			t.Errorf("%+v within %s: %d windows, want %d", c.in, c.deadline, got, c.want)
		}
	}
	var f forms
	m := opened(2, []media.Model{model("m", 1), {Name: "n", InputID: 1, Deadline: 100 * time.Millisecond}, model("p", 2)},
		media.Input{ID: 1, Form: media.SoundForm(voice), Window: 7}, media.Input{ID: 2, Form: media.PictureForm(small)})
	n, left, err := f.read(m)
	if err != nil || len(left) > 0 {
		t.Fatal(err, left)
	}
	sound, picture := n.takes["m"], n.takes["p"]
	if n.lines[sound] != line(voice, time.Second) || n.lines[picture] != newestWins {
		t.Errorf("lines %v, want that of the longest deadline for sound and none for pictures", n.lines)
	}
	if n.windows[1] != 7 || n.windows[2] != 2 {
		t.Errorf("windows %v, want the input's own or else the call's", n.windows)
	}
}
