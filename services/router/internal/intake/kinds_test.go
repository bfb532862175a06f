package intake

import (
	"bytes"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/codes"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
	"github.com/sluice-dev/sluice/services/router/internal/dispatch"
)

// kinds are inputs of every kind, with payloads that fit and payloads that do not.
func kinds() []struct {
	name      string
	form      media.Form
	good, bad []int
} {
	return []struct {
		name      string
		form      media.Form
		good, bad []int
	}{
		{"sound", media.SoundForm(media.SoundInput{Rate: 8000, Window: 80, Hop: 40, Context: 8}), []int{176}, []int{0, 175, 177, 160}},
		{"tensor", media.TensorForm(media.TensorInput{Datatype: media.FP32, Shape: "1,63"}), []int{252}, []int{0, 251, 253}},
		{"document", media.DocumentForm(), []int{1, 1000}, []int{0}},
		{"file", media.PictureForm(media.PictureInput{Width: 64, Height: 64, Encoding: media.EncodedJPEG}), []int{1, 100_000}, []int{0}},
	}
}

// unit makes a frame of a payload of so many bytes.
func unit(form media.Form, sequence uint32, size int) *sluicev1.Frame {
	f := frame("stream", sequence, 1, 200*ms, "m")
	f.Payload = bytes.Repeat([]byte("1"), size)
	if form.Kind != media.KindPicture {
		f.Placement = nil
	}
	return f
}

// TestEveryKind takes frames of every kind, and ends the call of an edge that sends something of another size than the input has.
func TestEveryKind(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := modelConfig("m", small, &model{after: ms})
				cfg.Input = k.form
				b := newBed(t, defaults(), cfg)
				defer b.stop()
				c, opened := b.open("s")
				if in, err := wire.InputFromProto(opened.GetInputs()[0]); err != nil || in.Form != k.form {
					t.Fatalf("opened with %+v, %v, want %+v", in, err, k.form)
				}
				for i, size := range k.good {
					c.frame(unit(k.form, uint32(i+1), size))
					if o := c.outcome(); end(o) != "result" {
						t.Errorf("%d bytes: %v", size, o)
					}
				}
				for _, size := range k.bad {
					c, _ := b.open("s")
					c.frame(unit(k.form, 1, size))
					if got := failure(c); got != codes.InvalidArgument {
						t.Errorf("%d bytes: the call ended with %v, want INVALID_ARGUMENT", size, got)
					}
				}
			})
		})
	}
}

// TestSoundHasAWindowOfItsOwn lets an edge have as many windows of sound outstanding as begin within a deadline, and two more. For other inputs the call's
// window stays.
func TestSoundHasAWindowOfItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		speech := modelConfig("m", small, &model{hang: hang})
		speech.Input = kinds()[0].form // a window each 5 ms, of 250: 50
		b := newBed(t, defaults(), speech, modelConfig("zfaces", small, &model{}))
		defer b.stop()
		defer close(hang)
		c, opened := b.open("s")
		if sound, picture := opened.GetInputs()[0].GetWindow(), opened.GetInputs()[1].GetWindow(); sound != 52 || picture != 0 {
			t.Fatalf("windows of %d and %d frames, want 52 for sound and none of its own for pictures", sound, picture)
		}
		c.frame(unit(speech.Input, 1, 176))
		synctest.Wait() // it is at the model now
		for i := range uint32(51) {
			c.frame(unit(speech.Input, i+2, 176))
		}
		if o := c.outcome(); o.GetSequence() != 2 || end(o) != "OVERLOADED" {
			t.Errorf("outcome %v, want window 2 to give way: 50 may wait", o)
		}
	})
}

func TestBooksHoldTheWindowOfAnInput(t *testing.T) {
	t.Parallel()
	b := newBooks(1)
	for sequence := range uint32(11) {
		f := &dispatch.Frame{Frame: media.Frame{Stream: "voice", Sequence: sequence + 1, InputID: 1}}
		if _, _, err := b.receive(f, 10); (err != nil) != (sequence == 10) {
			t.Errorf("frame %d of a window of 10: %v", sequence+1, err)
		}
	}
}
