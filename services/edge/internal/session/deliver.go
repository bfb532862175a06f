package session

import (
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// outcomes is who is told that an outcome is final.
type outcomes struct {
	watch   func(media.Outcome) // may be nil
	metrics *metrics
}

// deliver tells everybody who listens that an outcome is final. It is called once for each and never blocks.
func (s *Session) deliver(o media.Outcome) {
	final := s.spans.Final(o)
	stream, sequence, model, traced := o.Stream, o.Sequence, o.Model, final.Delivered()
	s.publishTold(&sluicev1.ServerMessage{Body: &sluicev1.ServerMessage_Outcome{Outcome: wire.OutcomeToProto(o)}}, func(sink string) {
		s.book.delivered(stream, sequence, model, sink)
		if traced != nil {
			traced(sink)
		}
	})
	final.Told()
	s.outcomes.metrics.observe(o)
	if s.outcomes.watch != nil {
		s.outcomes.watch(o)
	}
}
