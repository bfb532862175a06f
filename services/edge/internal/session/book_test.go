package session

import (
	"errors"
	"testing"
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
