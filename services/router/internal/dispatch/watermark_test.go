package dispatch_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-dev/sluice/pkg/detect"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
	"github.com/sluice-dev/sluice/services/router/internal/backend/oip"
	"github.com/sluice-dev/sluice/services/router/internal/dispatch"
	"github.com/sluice-dev/sluice/services/router/internal/reply"
)

const (
	sessions, streams = 50, 8
	servers           = 4
	// copies is how often a frame holds its mark. A batch is then large enough to be sent from where it was gathered, and a torn one shows.
	copies = 16
	// patience is the deadline of a frame: long, for what is looked for are wrong answers and not late ones.
	patience = 2 * time.Second
)

// TestWatermark sends a million frames, each of which says whose it is, through dispatcher, backend and gRPC to model servers that echo them. The servers
// hold answers back so that later ones overtake them, swap the answers of two batches, give old answers again, miscount and refuse. Whatever they do,
// each frame has one outcome, and each result is the frame's own.
func TestWatermark(t *testing.T) {
	t.Parallel()
	bed := newWatermarks(t)
	var feeding sync.WaitGroup
	for i := range bed.sessions {
		feeding.Go(func() { bed.sessions[i].feed(bed) })
	}
	feeding.Wait()
	bed.stop(t)

	var results, others int
	for i := range bed.sessions {
		s := &bed.sessions[i]
		results, others = results+s.results, others+s.others
		for _, wrong := range s.wrong {
			t.Error(wrong)
		}
	}
	t.Logf("%d frames: %d results, %d ends without; %s", results+others, results, others, bed.mischief.String())
	if results+others != watermarks {
		t.Errorf("%d outcomes of %d frames", results+others, watermarks)
	}
	if results < watermarks/2 {
		t.Errorf("only %d of %d frames have results", results, watermarks)
	}
	if torn := bed.torn.Load(); torn > 0 {
		t.Errorf("%d frames came to the servers in pieces of several", torn)
	}
	for i := range bed.mischief {
		if bed.mischief[i].Load() == 0 {
			t.Errorf("no answer was %s", mischiefs()[i])
		}
	}
}

// watermarkBed is a dispatcher before adversarial servers, and the sessions that use it.
type watermarkBed struct {
	dispatcher *dispatch.Dispatcher
	sessions   [sessions]marked
	frames     dispatch.Frames
	mischief   mischiefCounts // what the servers did
	torn       atomic.Int64   // frames that were not whole when they came there
	stop       func(*testing.T)
}

func newWatermarks(t *testing.T) *watermarkBed {
	t.Helper()
	bed := &watermarkBed{}
	const maxBatch = 64
	var drivers []backend.Driver
	swaps := make(chan swap)
	for i := range servers {
		address := backendtest.Serve(t, newEchoer(uint64(i), bed, swaps))
		driver, err := oip.Open(oip.Config{Target: address, Model: "echo"})
		if err != nil {
			t.Fatal(err)
		}
		drivers = append(drivers, driver)
	}
	decoder, err := detect.New(detect.Config{Decoder: "tensors"})
	if err != nil {
		t.Fatal(err)
	}
	form := media.TensorInput{Datatype: media.Int64, Shape: media.Shape(strconv.Itoa(4 * copies))}
	model, err := backend.New(backend.Config{
		Name: "echo", Input: tensor.Raw{Datatype: form.Datatype, Shape: []int{4 * copies}}, MaxBatch: maxBatch, Accept: decoder.Accept,
	}, drivers...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for err := model.Check(ctx); err != nil; err = model.Check(ctx) { // A busy machine may not answer in the time that a check has.
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	for i := range bed.mischief { // the warm-up does not count
		bed.mischief[i].Store(0)
	}
	quiet := slog.New(slog.DiscardHandler)
	bed.dispatcher, err = dispatch.New(dispatch.Config{Registry: prometheus.NewRegistry(), Logger: quiet, Models: []dispatch.ModelConfig{{
		Name: "echo", Input: media.TensorForm(form), Deadline: patience, Result: decoder.Kind(), MaxBatch: maxBatch, Slots: 2, Streams: sessions * streams,
		Runner: reply.New(model, 2, decoder, quiet),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range bed.sessions {
		bed.sessions[i] = marked{index: i, id: fmt.Sprint("session", i), ended: make(chan ended, streams)}
	}
	running, end := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- bed.dispatcher.Run(running) }()
	bed.stop = func(t *testing.T) {
		t.Helper()
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := model.Close(); err != nil {
			t.Error(err)
		}
	}
	return bed
}

// ended is an outcome on its way to the session's feeder.
type ended struct {
	owner           dispatch.Owner
	session, stream string
	sequence        uint32
	outcome         media.Outcome
}

// marked is a session whose frames say whose they are.
type marked struct {
	index int
	id    string
	ended chan ended

	sequence        [streams]uint32 // of the frame that is on its way
	results, others int
	wrong           []string
}

// Ended hands an outcome to the feeder, which waits for one of each frame and has room for that.
func (s *marked) Ended(f *dispatch.Frame, o media.Outcome) {
	select {
	case s.ended <- ended{f.Owner, f.Session, f.Stream, f.Sequence, o}:
	default:
		panic(fmt.Sprintf("%s: more outcomes than frames: %+v", s.id, o))
	}
}

// Demand is what an overloaded model can use. Who waits for each answer asks for no more than that.
func (*marked) Demand(media.Demand) {}

// feed keeps one frame of each stream on its way until the session's part is done.
func (s *marked) feed(bed *watermarkBed) {
	const part = watermarks / sessions
	for stream := range streams {
		s.submit(bed, stream)
	}
	sent := streams
	for range part {
		e := <-s.ended
		stream := s.check(e)
		if sent < part {
			s.submit(bed, stream)
			sent++
		}
	}
}

func (s *marked) submit(bed *watermarkBed, stream int) {
	s.sequence[stream]++
	now := time.Now()
	f := bed.frames.New()
	f.Stream, f.Sequence, f.InputID, f.Payload = strconv.Itoa(stream), s.sequence[stream], 1, media.Payload{payload(s.mark(stream))}
	f.Due = append(f.Due, media.Due{Model: "echo", Deadline: now.Add(patience)})
	f.Session, f.Owner, f.Arrived = s.id, s, now
	bed.dispatcher.Submit(f)
}

// mark says which of a stream's frames is on its way: session, stream, sequence, and a number that follows from them, so that no mixture of marks is one. Each
// is a float64 exactly, as results hold it.
func (s *marked) mark(stream int) []float64 {
	sequence := s.sequence[stream]
	mixed := (uint64(s.index)<<48 ^ uint64(stream)<<40 ^ uint64(sequence)) * 0x9e3779b97f4a7c15
	return []float64{float64(s.index), float64(stream), float64(sequence), float64(mixed >> 12)}
}

func payload(mark []float64) []byte {
	var data []byte
	for _, v := range mark {
		data = binary.LittleEndian.AppendUint64(data, uint64(v))
	}
	return bytes.Repeat(data, copies)
}

// check compares an outcome with the frame that it should be of, and gives the frame's stream.
func (s *marked) check(e ended) int {
	stream, err := strconv.Atoi(e.stream)
	if err != nil || e.owner != dispatch.Owner(s) || e.sequence != s.sequence[stream] {
		s.complain("an outcome for %s/%s/%d", e.session, e.stream, e.sequence)
		return stream
	}
	o := e.outcome
	if o.Session != s.id || o.Stream != e.stream || o.Sequence != e.sequence || o.Model != "echo" {
		s.complain("%s/%s/%d has the outcome of %s/%s/%d", s.id, e.stream, e.sequence, o.Session, o.Stream, o.Sequence)
	}
	if o.Result == nil {
		s.others++
		return stream
	}
	s.results++
	if len(o.Result.Tensors) != 1 || !slices.Equal(o.Result.Tensors[0].Values, s.mark(stream)) {
		s.complain("%s/%d/%d has another frame's result: %v", s.id, stream, e.sequence, o.Result.Tensors)
	}
	return stream
}

func (s *marked) complain(format string, args ...any) {
	if len(s.wrong) < 10 {
		s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
	}
}
