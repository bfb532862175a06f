package backend_test

import (
	"bytes"
	"context"
	"testing"

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
