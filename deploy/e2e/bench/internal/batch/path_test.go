package batch

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-dev/sluice/deploy/e2e/bench/internal/stub"
	"github.com/sluice-dev/sluice/proto/gen/inference"
	sluicev1 "github.com/sluice-dev/sluice/proto/gen/sluice/v1"
)

// serve runs services on the loopback interface until the test ends, and gives the address.
func serve(t *testing.T, register func(*grpc.Server)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	register(s)
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Serve(listener); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		s.Stop()
		running.Wait()
	})
	return listener.Addr().String()
}

// stubServer runs a model server that takes d for any batch.
func stubServer(t *testing.T, d time.Duration, rules *stub.TritonRules) (*stub.Server, string) {
	t.Helper()
	s, err := stub.New(stub.Config{Model: "m", Width: 64, Echo: 8, Max: 32, Instances: 1, Profile: stub.Profile{Alpha: d}, Triton: rules})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return s, serve(t, func(to *grpc.Server) { inference.RegisterGRPCInferenceServiceServer(to, s) })
}

func testModel() Model { return Model{Name: "m", Width: 64, Input: stub.Input, Output: stub.Output} }

// burst is a trace of n frames at once, each of a stream of its own, or all of one.
func burst(n int, oneStream bool) *Trace {
	t := &Trace{Streams: n, Length: 10 * time.Second}
	for i := range n {
		a := Arrival{Stream: i, Sequence: 1}
		if oneStream {
			a = Arrival{Sequence: uint32(i + 1), At: time.Duration(i)}
		}
		t.Arrivals = append(t.Arrivals, a)
	}
	return t
}

// count gives how many frames met each fate.
func (r *Record) count() map[Fate]int {
	counts := make(map[Fate]int)
	for i := range r.frames {
		counts[Fate(r.frames[i].state.Load())]++
	}
	return counts
}

func replay(t *testing.T, trace *Trace, path Path, err error) map[Fate]int {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	record, err := Replay(t.Context(), trace, 5*time.Second, path)
	if err != nil {
		t.Fatal(err)
	}
	return record.count()
}

func expect(t *testing.T, got map[Fate]int, want map[Fate]int) {
	t.Helper()
	for fate := range fates {
		if got[fate] != want[fate] {
			t.Errorf("%d frames %s, want %d", got[fate], fate, want[fate])
		}
	}
}

func TestServer(t *testing.T) {
	t.Parallel()
	server, address := stubServer(t, time.Millisecond, nil)
	path, err := OpenServer(t.Context(), address, testModel())
	expect(t, replay(t, burst(20, false), path, err), map[Fate]int{Answered: 20})
	server.Fail(codes.Unavailable)
	path, err = OpenServer(t.Context(), address, testModel())
	expect(t, replay(t, burst(3, false), path, err), map[Fate]int{Expired: 3})
	server.Fail(codes.Internal)
	path, err = OpenServer(t.Context(), address, testModel())
	expect(t, replay(t, burst(3, false), path, err), map[Fate]int{Failed: 3})
}

func TestUnanswered(t *testing.T) {
	t.Parallel()
	server, address := stubServer(t, time.Millisecond, nil)
	server.Hang(true)
	defer server.Hang(false)
	for name, open := range map[string]func() (Path, error){
		"server": func() (Path, error) { return OpenServer(t.Context(), address, testModel()) },
		"gate":   func() (Path, error) { return OpenGate(t.Context(), address, testModel(), 3) },
		"fixed": func() (Path, error) {
			return OpenFixed(t.Context(), address, testModel(), Fixed{Size: 2, Delay: time.Millisecond}, 1)
		},
	} {
		path, err := open()
		if err != nil {
			t.Fatal(err)
		}
		record, err := Replay(t.Context(), burst(3, false), 10*time.Millisecond, path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		expect(t, record.count(), map[Fate]int{Unanswered: 3})
	}
}

// TestGate sends a burst of one stream: its first frame goes, its last when that is answered, and those between give way.
func TestGate(t *testing.T) {
	t.Parallel()
	server, address := stubServer(t, time.Second, &stub.TritonRules{Max: 8})
	path, err := OpenGate(t.Context(), address, testModel(), 5)
	expect(t, replay(t, burst(5, true), path, err), map[Fate]int{Answered: 2, Superseded: 3})
	var heads []uint64
	for _, b := range server.Journal().Batches {
		heads = append(heads, b.Heads...)
	}
	if !slices.Equal(heads, []uint64{1, 5}) {
		t.Errorf("frames %v were sent, want the first and the last", heads)
	}
}

// TestFixed sends five frames: two batches are full, the last goes when its time is over.
func TestFixed(t *testing.T) {
	t.Parallel()
	server, address := stubServer(t, time.Millisecond, nil)
	path, err := OpenFixed(t.Context(), address, testModel(), Fixed{Size: 2, Delay: 2 * time.Second}, 1)
	expect(t, replay(t, burst(5, false), path, err), map[Fate]int{Answered: 5})
	var sizes []int
	for _, b := range server.Journal().Batches {
		sizes = append(sizes, b.Size)
	}
	if !slices.Equal(sizes, []int{2, 2, 1}) {
		t.Errorf("batches of %v, want 2, 2, 1", sizes)
	}
	path, err = OpenFixed(t.Context(), address, testModel(), Fixed{Size: 2, Delay: time.Hour}, 1)
	if err != nil {
		t.Fatal(err)
	}
	record, err := Replay(t.Context(), burst(5, false), time.Second, path)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, record.count(), map[Fate]int{Answered: 4, Unanswered: 1})
}

// TestFixedHasTwoUnderWay sends six full batches at once.
func TestFixedHasTwoUnderWay(t *testing.T) {
	t.Parallel()
	server, address := stubServer(t, 20*time.Millisecond, nil)
	path, err := OpenFixed(t.Context(), address, testModel(), Fixed{Size: 2, Delay: time.Second}, 1)
	expect(t, replay(t, burst(12, false), path, err), map[Fate]int{Answered: 12})
	if most := server.Journal().Most; most > 2 {
		t.Errorf("%v batches were at the server at once, want 2", most)
	}
}

// edgeless is a router that treats the frames of each stream by their sequence.
type edgeless struct {
	sluicev1.UnimplementedRouterServiceServer
	window uint32
	treat  func(f *sluicev1.Frame) *sluicev1.Outcome // nil keeps the frame for good
}

func (e *edgeless) Stream(stream grpc.BidiStreamingServer[sluicev1.StreamRequest, sluicev1.StreamResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if got := first.GetOpen().GetModels(); !slices.Equal(got, []string{"m"}) {
		return status.Errorf(codes.NotFound, "models %v", got)
	}
	input := &sluicev1.Input{Id: new(uint32(9)), Kind: &sluicev1.Input_Tensor{Tensor: &sluicev1.TensorInput{Datatype: new("UINT8"), Shape: []uint32{64}}}}
	opened := &sluicev1.Opened{Inputs: []*sluicev1.Input{input}, Window: new(e.window)}
	if err := stream.Send(&sluicev1.StreamResponse{Body: &sluicev1.StreamResponse_Opened{Opened: opened}}); err != nil {
		return err
	}
	outstanding := uint32(0)
	for {
		request, _ := stream.Recv()
		if request == nil {
			return nil // the edge has gone
		}
		f := request.GetFrame()
		if outstanding++; outstanding > e.window || f.GetInputId() != 9 || len(f.GetPayload()) != 64 || f.GetDue()[0].GetRemaining() <= 0 {
			return status.Errorf(codes.InvalidArgument, "frame %v, %d outstanding", f, outstanding)
		}
		o := e.treat(f)
		if o == nil {
			continue
		}
		outstanding--
		o.Stream, o.Sequence = f.Stream, f.Sequence
		for _, m := range []*sluicev1.StreamResponse{
			{Body: &sluicev1.StreamResponse_Outcome{Outcome: o}},
			{Body: &sluicev1.StreamResponse_Credit{Credit: &sluicev1.Credit{Stream: f.Stream, InputId: f.InputId, Frames: new(uint32(1))}}},
		} {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
	}
}

func result(values ...float64) *sluicev1.Outcome {
	return &sluicev1.Outcome{BatchSize: new(uint32(3)), End: &sluicev1.Outcome_Result{Result: &sluicev1.Result{Tensors: []*sluicev1.Tensor{{Values: values}}}}}
}

func dropped(reason sluicev1.Drop_Reason) *sluicev1.Outcome {
	return &sluicev1.Outcome{End: &sluicev1.Outcome_Drop{Drop: &sluicev1.Drop{Reason: reason.Enum()}}}
}

func routed(t *testing.T, e *edgeless, trace *Trace, slo time.Duration) (map[Fate]int, error) {
	t.Helper()
	address := serve(t, func(to *grpc.Server) { sluicev1.RegisterRouterServiceServer(to, e) })
	path, err := OpenRouter(t.Context(), address, testModel(), trace.Streams, slo)
	if err != nil {
		return nil, err
	}
	record, err := Replay(t.Context(), trace, slo, path)
	if err != nil {
		return nil, err
	}
	return record.count(), nil
}

func TestRouter(t *testing.T) {
	t.Parallel()
	got, err := routed(t, &edgeless{window: 4, treat: func(f *sluicev1.Frame) *sluicev1.Outcome {
		p := f.GetPayload()
		switch p[4] { // the stream
		case 0:
			return dropped(sluicev1.Drop_SUPERSEDED)
		case 1:
			return dropped(sluicev1.Drop_EXPIRED)
		case 2:
			return dropped(sluicev1.Drop_OVERLOADED)
		case 3:
			return &sluicev1.Outcome{End: &sluicev1.Outcome_Error{Error: &sluicev1.Error{}}}
		case 4:
			return result(9, 9, 9, 9, 9, 9, 9, 9) // another frame's
		case 5:
			return result(1)
		case 6:
			return &sluicev1.Outcome{End: &sluicev1.Outcome_Error{Error: &sluicev1.Error{Code: sluicev1.Error_BACKEND_TIMEOUT.Enum()}}}
		default:
			return result(float64(p[0]), 0, 0, 0, float64(p[4]), 0, 0, 0)
		}
	}}, burst(10, false), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, got, map[Fate]int{Superseded: 1, Expired: 1, Shed: 1, TimedOut: 1, Failed: 3, Answered: 3})
}

// TestRouterKeepsWindows sends a burst of one stream to a router that keeps what it gets: no more goes than the window, and the newest waits.
func TestRouterKeepsWindows(t *testing.T) {
	t.Parallel()
	got, err := routed(t, &edgeless{window: 2, treat: func(*sluicev1.Frame) *sluicev1.Outcome { return nil }}, burst(5, true), 1500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, got, map[Fate]int{Superseded: 2, Unanswered: 3})
}

func TestRouterThatFails(t *testing.T) {
	t.Parallel()
	if _, err := routed(t, &edgeless{window: 1, treat: func(*sluicev1.Frame) *sluicev1.Outcome { panic("not reached") }}, &Trace{Streams: 1, Length: time.Second}, time.Second); err != nil {
		t.Error(err)
	}
	address := serve(t, func(*grpc.Server) {})
	if _, err := OpenRouter(t.Context(), address, testModel(), 1, time.Second); status.Code(err) != codes.Unimplemented {
		t.Errorf("a server that is no router: %v", err)
	}
}
