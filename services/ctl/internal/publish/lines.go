package publish

import (
	"encoding/json"
	"io"
	"sync"

	"github.com/sluice-dev/sluice/pkg/wire"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// line is a line of Config.Outcomes: the frame that the outcome is about, or where in the sound its window begins.
type line struct {
	Publisher int             `json:"publisher"`
	Frame     *int            `json:"frame,omitempty"`
	ClipFrame *int            `json:"clipFrame,omitempty"`
	Seconds   *float64        `json:"seconds,omitempty"`
	Latency   float64         `json:"latency"`
	Outcome   json.RawMessage `json:"outcome"`
}

// lineWriter writes outcomes as lines of JSON, for several publishers at once.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lineWriter) write(entry line, o *sluicev1.Outcome) {
	if l.w == nil {
		return
	}
	b, err := wire.JSON(o)
	if err != nil {
		return
	}
	entry.Outcome = b
	text, err := json.Marshal(entry)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.w.Write(append(text, '\n')) // A full disk shows in the file; the publishing goes on.
}
