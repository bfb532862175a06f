package backend_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
)

// keeper is a driver that reads each batch after Infer, until it is told to stop.
type keeper struct {
	*backendtest.Fake
	kept [][]byte
	done []func()
}

func (k *keeper) Infer(ctx context.Context, request backend.Request) (backend.Output, error) {
	k.kept, k.done = append(k.kept, request.Inputs[0].Data), append(k.done, request.Keep())
	return k.Fake.Infer(ctx, request)
}

// TestBatchesThatAreKept are not written over by the next ones.
func TestBatchesThatAreKept(t *testing.T) {
	t.Parallel()
	k := &keeper{Fake: backendtest.NewFake("a", config())}
	m := newModel(t, config(), k)
	if err := m.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	var before [][]byte
	infer := func() {
		t.Helper()
		reply, err := m.Infer(t.Context(), 0, frames(1+len(k.kept)%3))
		if err != nil {
			t.Fatal(err)
		}
		reply.Release()
		before = append(before, bytes.Clone(k.kept[len(k.kept)-1]))
	}
	warm := len(k.kept)
	for range 20 {
		infer()
	}
	for i, was := range before {
		if !bytes.Equal(k.kept[warm+i], was) {
			t.Errorf("batch %d was written over while it was kept", i)
		}
	}
	for _, done := range k.done {
		done()
	}
	infer()
}

// scatterer is a keeper that takes payloads from where they lie, and answers as if they had been gathered.
type scatterer struct {
	*keeper
	pieces []media.Payload
}

func (*scatterer) Scatters() bool { return true }

func (s *scatterer) Infer(ctx context.Context, request backend.Request) (backend.Output, error) {
	s.pieces = append(s.pieces, request.Pieces)
	if len(request.Pieces) > 0 {
		if len(request.Inputs[0].Data) > 0 {
			return backend.Output{}, errors.New("the payloads came twice")
		}
		request.Inputs = slices.Clone(request.Inputs)
		request.Inputs[0].Data = request.Pieces.Whole()
	}
	return s.keeper.Infer(ctx, request)
}

// holder counts who holds a payload.
type holder struct{ holds int }

func (h *holder) Hold()    { h.holds++ }
func (h *holder) Release() { h.holds-- }

// TestPayloadsAreSentFromWhereTheyLie, and held until nobody can read them any more.
func TestPayloadsAreSentFromWhereTheyLie(t *testing.T) {
	t.Parallel()
	c := backend.Config{
		Name: "m", MaxBatch: 3,
		Input: tensor.Picture{Width: 160, Height: 160, Layout: tensor.NHWC, Datatype: media.Uint8, Scale: [3]float64{1, 1, 1}},
	}
	size := 160 * 160 * 3
	s := &scatterer{keeper: &keeper{Fake: backendtest.NewFake("a", c)}}
	m := newModel(t, c, s)
	if err := m.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	picture := func(value byte) media.Payload {
		whole := bytes.Repeat([]byte{value}, size)
		return media.Payload{whole[:5000], whole[5000:]}
	}
	infer := func(owners ...*holder) media.Payload {
		t.Helper()
		batch := make([]backend.Frame, len(owners))
		for i, o := range owners {
			if batch[i].Frame = (&media.Frame{Payload: picture(byte(i))}); o != nil {
				batch[i].Holder = o
			}
		}
		reply, err := m.Infer(t.Context(), 0, batch)
		if err != nil {
			t.Fatal(err)
		}
		defer reply.Release()
		for i := range owners {
			if first, _ := backendtest.Tensor(reply.Frame(i), "first"); first.Data[0] != byte(i) {
				t.Errorf("frame %d was answered as %d", i, first.Data[0])
			}
		}
		return s.pieces[len(s.pieces)-1]
	}
	a, b := &holder{}, &holder{}
	if pieces := infer(a, b); len(pieces) != 4 || a.holds != 1 || b.holds != 1 {
		t.Errorf("%d pieces, held %d and %d times, want 4 and once each", len(pieces), a.holds, b.holds)
	}
	s.done[len(s.done)-1]()
	if a.holds != 0 || b.holds != 0 {
		t.Errorf("held %d and %d times when nobody reads any more", a.holds, b.holds)
	}
	if pieces := infer(a, nil); len(pieces) != 0 || a.holds != 0 {
		t.Errorf("%d pieces although nobody holds one of the payloads", len(pieces))
	}
}
