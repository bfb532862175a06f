package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/pkg/media"
)

// replace puts models in place and fails the test when that is not possible.
func (b *bed) replace(models ...ModelConfig) *Retired {
	b.t.Helper()
	retired, err := b.Replace(b.t.Context(), models)
	if err != nil {
		b.t.Fatal(err)
	}
	return retired
}

// came waits for retired models and fails the test when they do not come back.
func came(t *testing.T, r *Retired) {
	t.Helper()
	if stuck, err := r.Wait(t.Context()); err != nil || len(stuck) > 0 {
		t.Errorf("%v: %v", stuck, err)
	}
}

// balance checks that every accepted frame has one outcome, or is in flight, and gives the counts of a model.
func (b *bed) balance(model string) media.ModelCounts {
	b.t.Helper()
	for _, c := range b.Totals() {
		ended := c.Results
		for _, n := range slices.Concat(c.Drops[:], c.Errors[:]) {
			ended += n
		}
		if c.Accepted != ended+c.InFlight {
			b.t.Errorf("model %s: accepted %d, but %d ended and %d are in flight", c.Model, c.Accepted, ended, c.InFlight)
		}
		if c.Model == model {
			return c
		}
	}
	b.t.Errorf("no totals of model %s", model)
	return media.ModelCounts{}
}

func TestReplaceAddsAModel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faces := modelConfig("faces", &runner{run: echo(10 * ms)})
		other := modelConfig("other", &runner{run: echo(10 * ms)})
		other.Input = media.PictureForm(media.PictureInput{Width: 4, Height: 4, Fit: media.Stretch, Color: media.BGR})
		b := newBed(t, faces)
		s := b.session("s")
		b.submit(s, "camera", 1, "1", 250*ms, "faces")
		came(t, b.replace(faces, other))
		b.submit(s, "camera", 2, "2", 250*ms, "other")
		advance(20 * ms)
		if got := short(s.take()); len(got) != 2 || got[0].end != "result" || got[1].end != "result" {
			t.Errorf("outcomes %v, want two results", got)
		}
		if models, inputs := b.Models(), b.Inputs(); len(models) != 2 || models[0].InputID != 1 || models[1].InputID != 2 || len(inputs) != 2 {
			t.Errorf("models %+v, inputs %+v", models, inputs)
		}
		_ = b.stop()
	})
}

// TestReplaceTakesAModelOut has one frame in flight and one waiting when the model goes, and one that comes after.
func TestReplaceTakesAModelOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stays, goes := modelConfig("stays", &runner{run: echo(10 * ms)}), modelConfig("goes", &runner{run: echo(50 * ms)})
		b := newBed(t, stays, goes)
		s := b.session("s")
		b.submit(s, "camera", 1, "1", 250*ms, "goes")
		synctest.Wait()
		b.submit(s, "camera", 2, "2", 250*ms, "goes")
		synctest.Wait()
		retired := b.replace(stays)
		b.submit(s, "camera", 3, "3", 250*ms, "goes", "stays")
		came(t, retired)
		synctest.Wait()
		expect(t, s, wants{2, "DRAINING", 0}, wants{3, "DRAINING", 0}, wants{3, "result", 10}, wants{1, "result", 50})
		if c := b.balance("goes"); c.Accepted != 3 || c.Results != 1 || c.Drops[media.Draining] != 2 || c.InFlight != 0 {
			t.Errorf("counts %+v", c)
		}
		if b.payloadsReleased() != 3 {
			t.Errorf("%d payloads were given back, want 3", b.payloadsReleased())
		}
		// It comes back under the same name: the account goes on.
		came(t, b.replace(stays, modelConfig("goes", &runner{run: echo(5 * ms)})))
		b.submit(s, "camera", 4, "4", 250*ms, "goes")
		advance(10 * ms)
		expect(t, s, wants{4, "result", 55})
		if c := b.balance("goes"); c.Accepted != 4 || c.Results != 2 || len(b.Totals()) != 2 {
			t.Errorf("counts %+v of %d models", c, len(b.Totals()))
		}
		_ = b.stop()
	})
}

// TestReplaceChangesAModel has the old one finish what it has while the new one serves, with another input or the same.
func TestReplaceChangesAModel(t *testing.T) {
	t.Parallel()
	for _, sameInput := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			before, after := &runner{run: echo(50 * ms)}, &runner{run: echo(10 * ms)}
			b := newBed(t, modelConfig("faces", before))
			s := b.session("s")
			b.submit(s, "camera", 1, "1", 250*ms, "faces")
			synctest.Wait()
			changed := modelConfig("faces", after)
			if !sameInput {
				changed.Input = media.PictureForm(media.PictureInput{Width: 4, Height: 4, Fit: media.Stretch, Color: media.BGR})
			}
			stale := &Frame{Frame: media.Frame{Stream: "camera", Sequence: 2, InputID: 1, Due: []media.Due{{Model: "faces", Deadline: time.Now().Add(250 * ms)}}}, Owner: s, Arrived: time.Now()}
			retired := b.replace(changed)
			b.Submit(stale)
			synctest.Wait()
			b.submit(s, "other", 3, "3", 250*ms, "faces")
			came(t, retired)
			synctest.Wait()
			want := []wants{{2, "result", 10}, {3, "result", 20}, {1, "result", 50}}
			if !sameInput {
				want = []wants{{2, "EXPIRED", 0}, {3, "result", 10}, {1, "result", 50}}
			}
			expect(t, s, want...)
			if id := b.Models()[0].InputID; (id == 1) != sameInput {
				t.Errorf("the input's id is %d", id)
			}
			if c := b.balance("faces"); c.Accepted != 3 || c.InFlight != 0 {
				t.Errorf("counts %+v", c)
			}
			_ = b.stop()
		})
	}
}

// TestTotalsGoOn replaces a model twice while the first two still have a frame in flight, takes it out and brings it back: its account is one all the time.
func TestTotalsGoOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faces := func(after time.Duration) ModelConfig { return modelConfig("faces", &runner{run: echo(after)}) }
		b := newBed(t, faces(50*ms))
		s := b.session("s")
		check := func(when string, accepted, results, inFlight uint32) {
			t.Helper()
			if c := b.balance("faces"); c.Accepted != accepted || c.Results != results || c.InFlight != inFlight || len(b.Totals()) != 1 {
				t.Errorf("%s: %+v, want %d accepted, %d results, %d in flight, and one account", when, c, accepted, results, inFlight)
			}
		}
		b.submit(s, "camera", 1, "1", 250*ms, "faces")
		synctest.Wait()
		first := b.replace(faces(40 * ms))
		b.submit(s, "camera", 2, "2", 250*ms, "faces")
		synctest.Wait()
		second := b.replace(faces(10 * ms))
		b.submit(s, "camera", 3, "3", 250*ms, "faces")
		synctest.Wait()
		check("with three of a name", 3, 0, 3)
		advance(20 * ms)
		check("when the last has answered", 3, 1, 2)
		came(t, first)
		came(t, second)
		check("when all have", 3, 3, 0)
		came(t, b.replace())
		check("when it was taken out", 3, 3, 0)
		b.submit(s, "camera", 4, "4", 250*ms, "faces")
		synctest.Wait()
		check("with a frame that comes late", 4, 3, 0)
		came(t, b.replace(faces(ms)))
		came(t, b.replace(faces(ms)))
		b.submit(s, "camera", 5, "5", 250*ms, "faces")
		advance(10 * ms)
		check("when it came back", 5, 4, 0)
		expect(t, s, wants{3, "result", 10}, wants{2, "result", 40}, wants{1, "result", 50}, wants{4, "DRAINING", 50}, wants{5, "result", 51})
		_ = b.stop()
	})
}

// TestReplaceLeavesOthersAlone keeps what a recurrent model remembers and what waits for it, while others come and go.
func TestReplaceLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		speech := listener("speech", &remembering{})
		slow := modelConfig("slow", &runner{run: echo(50 * ms)})
		b := newBed(t, speech, slow)
		s := b.session("s")
		state := func(sequence uint32) string {
			b.submit(s, "voice", sequence, "w", 250*ms, "speech")
			synctest.Wait()
			return s.take()[0].Result.JSON[0]
		}
		first := state(1)
		b.submit(s, "camera", 1, "1", 250*ms, "slow")
		synctest.Wait()
		b.submit(s, "camera", 2, "2", 250*ms, "slow")
		came(t, b.replace(modelConfig("new", &runner{run: echo(ms)}), slow, speech))
		came(t, b.replace(slow, speech))
		advance(100 * ms)
		expect(t, s, wants{1, "result", 50}, wants{2, "result", 100})
		if again := state(2); again != first {
			t.Error("what the model remembered of the stream is gone")
		}
		_ = b.stop()
	})
}

// TestReplaceNeverUsesAnInputIDAgain takes an input away and brings it back: edges have begun to count anew.
func TestReplaceNeverUsesAnInputIDAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faces, speech := modelConfig("faces", &runner{run: echo(ms)}), listener("speech", &remembering{})
		b := newBed(t, faces, speech)
		window := b.Inputs()[1].Window
		came(t, b.replace(faces))
		came(t, b.replace(faces, listener("speech", &remembering{})))
		if in := b.Inputs(); len(in) != 2 || in[0].ID != 1 || in[1].ID != 3 || in[1].Form != speech.Input {
			t.Errorf("inputs %+v, want the first as before and the second with the id 3", in)
		}
		// The windows that edges may have outstanding do not get fewer while the id stays.
		short := listener("speech", &remembering{})
		short.Deadline = speech.Deadline / 2
		came(t, b.replace(faces, short))
		if in := b.Inputs()[1]; in.ID != 3 || in.Window != window {
			t.Errorf("input %+v, want 3 with a window of %d", in, window)
		}
		_ = b.stop()
	})
}

func TestReplaceWaitsForWhatIsInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := newBed(t, modelConfig("hangs", &runner{run: hang(release)}), modelConfig("works", &runner{run: echo(10 * ms)}))
		s := b.session("s")
		b.submit(s, "camera", 1, "1", 250*ms, "hangs", "works")
		synctest.Wait()
		retired := b.replace()
		brief, cancel := context.WithTimeout(t.Context(), 100*ms)
		defer cancel()
		if stuck, err := retired.Wait(brief); !errors.Is(err, context.DeadlineExceeded) || !slices.Equal(stuck, []string{"hangs"}) {
			t.Errorf("Wait = %v, %v while a batch is in flight", stuck, err)
		}
		begun := time.Now()
		if stuck, err := retired.Wait(t.Context()); err == nil || !slices.Equal(stuck, []string{"hangs"}) || time.Since(begun) > 2*time.Second {
			t.Errorf("Wait = %v, %v after %v; want an error about the one model whose batch never came back, soon", stuck, err, time.Since(begun))
		}
		expect(t, s, wants{1, "result", 10}, wants{1, "BACKEND_TIMEOUT", 250})
		close(release)
		synctest.Wait()
		if err := b.stop(); err == nil {
			t.Error("Run says nothing of the batch that never came back")
		}
	})
}

func TestReplaceRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		faces := modelConfig("faces", &runner{run: echo(ms)})
		b := newBed(t, faces)
		if _, err := b.Replace(t.Context(), []ModelConfig{faces, faces}); err == nil {
			t.Error("two models of a name were taken")
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_ = b.stop()
		if _, err := b.Replace(ended, []ModelConfig{modelConfig("other", &runner{run: echo(ms)})}); !errors.Is(err, context.Canceled) {
			t.Errorf("Replace = %v with nobody to drive the model", err)
		}
		if models := b.Models(); len(models) != 1 || models[0].Name != "faces" {
			t.Errorf("models %+v, want those before", models)
		}
	})
}

// TestReplaceUnderLoad changes the models all the time while frames of two streams come: each has one outcome, and the books balance.
func TestReplaceUnderLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		quick := func(name string) ModelConfig { return modelConfig(name, &runner{run: echo(7 * ms)}) }
		stays := quick("stays")
		b := newBed(t, stays, quick("a"), quick("b"))
		s := b.session("s")
		const frames = 400
		var senders sync.WaitGroup
		for _, stream := range []string{"one", "two"} {
			senders.Go(func() {
				for i := range uint32(frames) {
					b.submit(s, stream, i+1, "x", 100*ms, "stays", "a", "b")
					<-time.After(3 * ms)
				}
			})
		}
		for i := range 60 {
			models := []ModelConfig{stays}
			for j, name := range []string{"a", "b"} {
				if i%3 != j {
					models = append(models, quick(name))
				}
			}
			came(t, b.replace(models...))
			<-time.After(11 * ms)
		}
		senders.Wait()
		advance(time.Second)
		counts := map[string]int{}
		for _, o := range s.take() {
			counts[fmt.Sprint(o.Stream, o.Sequence, o.Model)]++
		}
		for _, stream := range []string{"one", "two"} {
			for i := range frames {
				for _, model := range []string{"stays", "a", "b"} {
					if n := counts[fmt.Sprint(stream, i+1, model)]; n != 1 {
						t.Fatalf("frame %d of %s has %d outcomes for %s", i+1, stream, n, model)
					}
				}
			}
		}
		for _, model := range []string{"stays", "a", "b"} {
			if c := b.balance(model); c.Accepted != 2*frames || c.InFlight != 0 {
				t.Errorf("%s: %+v", model, c)
			}
		}
		if b.payloadsReleased() != 2*frames {
			t.Errorf("%d payloads were given back, want %d", b.payloadsReleased(), 2*frames)
		}
		_ = b.stop()
	})
}
