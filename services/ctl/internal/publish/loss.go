package publish

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
)

// loss loses RTP packets on their way out, as a bad network does. The packets of a track that it loses depend on the seed alone. It is safe for concurrent use.
type loss struct {
	interceptor.NoOp
	// share of the packets, 0 to 1.
	share float64
	seed  uint64
	// lost counts them.
	lost atomic.Uint32
}

// NewInterceptor implements interceptor.Factory.
func (l *loss) NewInterceptor(string) (interceptor.Interceptor, error) { return l, nil }

// BindLocalStream implements interceptor.Interceptor.
func (l *loss) BindLocalStream(info *interceptor.StreamInfo, next interceptor.RTPWriter) interceptor.RTPWriter {
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(l.seed, uint64(len(info.MimeType)))) //nolint:gosec // A simulation, which must give the same again.
	return interceptor.RTPWriterFunc(func(header *rtp.Header, payload []byte, attributes interceptor.Attributes) (int, error) {
		mu.Lock()
		lose := dice.Float64() < l.share
		mu.Unlock()
		if lose {
			l.lost.Add(1)
			return len(payload), nil
		}
		return next.Write(header, payload, attributes)
	})
}
