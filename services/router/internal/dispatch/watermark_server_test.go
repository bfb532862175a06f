package dispatch_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-dev/sluice/proto/gen/inference"
)

// What a server does with an answer.
const (
	overtaken = iota
	swapped
	stale
	shortened
	lengthened
	refused
	unreachable
	hung
	kinds
)

// mischiefCounts counts the answers of all servers by what was done with them.
type mischiefCounts [kinds]atomic.Int64

func mischiefs() [kinds]string {
	return [kinds]string{"overtaken", "swapped", "stale", "shortened", "lengthened", "refused", "unreachable", "hung"}
}

func (c *mischiefCounts) String() string {
	var texts []string
	for i := range c {
		texts = append(texts, fmt.Sprintf("%s %d", mischiefs()[i], c[i].Load()))
	}
	return strings.Join(texts, ", ")
}

// swap is an answer on offer for another one.
type swap struct {
	mine *inference.ModelInferResponse
	back chan *inference.ModelInferResponse
}

// markBytes is the size of a mark.
const markBytes = 32

// echoer is a model server that gives every frame its own mark back, and one in four batches something else than that.
type echoer struct {
	inference.UnimplementedGRPCInferenceServiceServer

	bed   *watermarkBed
	swaps chan swap // of all servers

	mu    sync.Mutex
	rng   *rand.Rand
	asked int
	last  *inference.ModelInferResponse
}

func newEchoer(seed uint64, bed *watermarkBed, swaps chan swap) *echoer {
	return &echoer{bed: bed, swaps: swaps, rng: rand.New(rand.NewPCG(seed, 7))}
}

func (*echoer) ModelReady(context.Context, *inference.ModelReadyRequest) (*inference.ModelReadyResponse, error) {
	return &inference.ModelReadyResponse{Ready: true}, nil
}

func (*echoer) ModelMetadata(context.Context, *inference.ModelMetadataRequest) (*inference.ModelMetadataResponse, error) {
	tensor := func(name string, size int64) []*inference.ModelMetadataResponse_TensorMetadata {
		return []*inference.ModelMetadataResponse_TensorMetadata{{Name: name, Datatype: "INT64", Shape: []int64{-1, size}}}
	}
	return &inference.ModelMetadataResponse{Name: "echo", Inputs: tensor("marks", 4*copies), Outputs: tensor("echoes", 4)}, nil
}

func (e *echoer) ModelInfer(ctx context.Context, r *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	answer := &inference.ModelInferResponse{
		ModelName: "echo", Id: r.GetId(), RawOutputContents: [][]byte{e.marks(r.GetRawInputContents()[0])},
		Outputs: []*inference.ModelInferResponse_InferOutputTensor{{Name: "echoes", Datatype: "INT64", Shape: []int64{r.GetInputs()[0].GetShape()[0], 4}}},
	}
	kind, delay, last := e.choose(answer)
	if kind < kinds {
		e.bed.mischief[kind].Add(1)
	}
	switch kind {
	case overtaken:
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	case swapped:
		return e.exchange(ctx, answer, delay), nil
	case stale:
		return last, nil
	case shortened:
		return resized(answer, -1), nil
	case lengthened:
		return resized(answer, +1), nil
	case refused:
		return nil, status.Error(codes.InvalidArgument, "not today")
	case unreachable:
		return nil, status.Error(codes.Unavailable, "not at home")
	case hung:
		<-ctx.Done()
	}
	return answer, nil
}

// marks reads the frames of a batch.
func (e *echoer) marks(frames []byte) []byte {
	marks := make([]byte, 0, len(frames)/copies)
	for frame := range slices.Chunk(frames, markBytes*copies) {
		mark := frame[:markBytes]
		if !bytes.Equal(frame, bytes.Repeat(mark, copies)) {
			e.bed.torn.Add(1)
		}
		marks = append(marks, mark...)
	}
	return marks
}

// choose says what to do with an answer, how long, and which one was the last before it. The first few are good ones, so that the model gets ready.
func (e *echoer) choose(answer *inference.ModelInferResponse) (kind int, delay time.Duration, last *inference.ModelInferResponse) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked++
	last, e.last = e.last, answer
	delay = time.Duration(e.rng.IntN(int(10 * time.Millisecond)))
	const warm, rare = 100, 400 // requests
	switch n := e.rng.IntN(100); {
	case e.asked < warm:
		return kinds, 0, nil
	case e.asked%rare == warm:
		return hung, 0, nil
	case e.asked%rare == rare/2:
		return unreachable, 0, nil
	case n < 10:
		return overtaken, delay, nil
	case n < 15:
		return swapped, delay, nil
	case n < 20:
		return stale, 0, last
	case n < 23:
		return shortened + n - 20, 0, nil
	default:
		return kinds, 0, nil
	}
}

// exchange gives an answer away for that of another batch, of whatever server. When none comes within the time, it is as good as delayed.
func (e *echoer) exchange(ctx context.Context, answer *inference.ModelInferResponse, patience time.Duration) *inference.ModelInferResponse {
	mine := swap{answer, make(chan *inference.ModelInferResponse, 1)}
	select {
	case e.swaps <- mine:
		return <-mine.back
	case other := <-e.swaps:
		other.back <- answer
		return other.mine
	case <-time.After(patience):
	case <-ctx.Done():
	}
	return answer
}

// resized makes an answer for some frames more or less.
func resized(answer *inference.ModelInferResponse, by int) *inference.ModelInferResponse {
	other := proto.CloneOf(answer)
	other.Outputs[0].Shape[0] += int64(by)
	data := slices.Concat(other.RawOutputContents[0], make([]byte, markBytes))
	other.RawOutputContents[0] = data[:len(data)+(by-1)*markBytes]
	return other
}
