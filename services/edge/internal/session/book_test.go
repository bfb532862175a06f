package session

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-dev/sluice/pkg/ledger"
	"github.com/sluice-dev/sluice/pkg/media"
)

// A channel is read until its session's connection is closed, which comes after the summary. What the models want may be news to it even then.
func TestAStreamThatHasEndedStaysSo(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*book){
		"the stream ended":  func(b *book) { b.closeStream("camera") },
		"the session ended": func(b *book) { b.close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBook("s", func(o media.Outcome) { t.Errorf("outcome %+v", o) })
			catalog := faces()
			st, err := newStream("camera", content{kind: media.KindPicture}, nil, &fixedWants{w: newWants(catalog.Models, catalog.Inputs)}, b)
			if err != nil {
				t.Fatal(err)
			}
			end(b)
			st.refresh()
			if sequence, _ := st.receive(ledger.Unit{Arrival: time.Now()}, 0, true); sequence != 0 {
				t.Errorf("a unit was accepted as number %d", sequence)
			}
			if c := b.counts(); c[0].Received != 0 {
				t.Errorf("counts %+v", c)
			}
			if err := b.open("camera", nil); !errors.Is(err, errStreamEnded) {
				t.Errorf("opened again with error %v", err)
			}
		})
	}
}

// Who receives a unit says what became of it, also when it is overdue by then; if nobody does, it is given up.
func TestWhatComesInOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outcomes := make(chan media.DropReason, 2)
		b := newBook("s", func(o media.Outcome) { outcomes <- o.Drop })
		if err := b.open("voice", []string{"speech"}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan struct{})
		go func() { b.run(ctx); close(stopped) }()
		synctest.Wait()

		now := time.Now()
		arrival := now.Add(-time.Second)
		due := []media.Due{{Model: "speech", Deadline: arrival.Add(250 * time.Millisecond)}}
		told := b.receive("voice", ledger.Unit{Arrival: arrival}, due)
		b.receive("voice", ledger.Unit{Arrival: arrival}, due)
		synctest.Wait() // the book's own goroutine has looked at them
		b.finalise(media.Outcome{Stream: "voice", Sequence: told, Model: "speech", Drop: media.Overloaded})
		if ends, want := []media.DropReason{<-outcomes, <-outcomes}, []media.DropReason{media.Overloaded, media.Expired}; !slices.Equal(ends, want) {
			t.Errorf("outcomes %v, want %v", ends, want)
		}
		if waited := time.Since(now); waited != grace {
			t.Errorf("given up after %v", waited)
		}
		cancel()
		<-stopped
	})
}
