package oip

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/proto/gen/inference"
)

// TestCodecWritesWhatProtobufDoes, and lends gRPC the tensors until it has written the last of them.
func TestCodecWritesWhatProtobufDoes(t *testing.T) {
	t.Parallel()
	const long, short = shortTensor + 1, shortTensor
	for _, sizes := range [][]int{nil, {0}, {1}, {short}, {long}, {long, long}, {long, 0, long}, {short, long, short}, {3 << 20, short, short, 70_000}} {
		t.Run(fmt.Sprint(sizes), func(t *testing.T) {
			t.Parallel()
			m := &inference.ModelInferRequest{
				ModelName: "m", Id: "7", Inputs: []*inference.ModelInferRequest_InferInputTensor{{Name: "x", Datatype: "UINT8", Shape: []int64{1, 2}}},
				Parameters: map[string]*inference.InferParameter{"p": {ParameterChoice: &inference.InferParameter_StringParam{StringParam: "v"}}},
			}
			lent := 0
			for i, size := range sizes {
				tensor := make([]byte, size)
				for k := range tensor {
					tensor[k] = byte(i + k*k)
				}
				m.RawInputContents = append(m.RawInputContents, tensor)
				if size > shortTensor {
					lent++
				}
			}
			want := proto.CloneOf(m)
			kept := 0
			data, err := codec{}.Marshal(&question{ModelInferRequest: m, keep: func() func() { kept++; return func() { kept-- } }})
			if err != nil {
				t.Fatal(err)
			}
			got := &inference.ModelInferRequest{}
			if err := proto.Unmarshal(data.Materialize(), got); err != nil || !proto.Equal(got, want) || !proto.Equal(m, want) {
				t.Errorf("it reads as %.200v, %v; want %.200v, and the message is %.200v", got, err, want, m)
			}
			if kept != lent {
				t.Errorf("%d tensors are kept, want %d", kept, lent)
			}
			copied := 0
			for _, b := range data {
				if len(b.ReadOnlyData()) > 3*shortTensor && &b.ReadOnlyData()[0] != &m.GetRawInputContents()[0][0] && &b.ReadOnlyData()[0] != &m.GetRawInputContents()[len(sizes)-1][0] {
					copied++
				}
			}
			data.Free()
			if kept != 0 || copied != 0 {
				t.Errorf("%d tensors are kept after the end, %d were copied", kept, copied)
			}
		})
	}
}

// TestCodecScatters sends the first tensor from where its pieces lie, which are kept as long as any of them may be read.
func TestCodecScatters(t *testing.T) {
	t.Parallel()
	for name, sizes := range map[string][]int{
		"one": {9000}, "several": {16000, 16000, 5000}, "a short one behind": {16000, 16000, 3}, "short ones behind": {9000, 1024, 1, 0}, "short ones only": {1000, 1000, 1000, 1000, 1000},
		"a short one in front": {3, 16000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pieces := make(media.Payload, len(sizes))
			long, lent := 0, 0
			for i, size := range sizes {
				pieces[i] = make([]byte, size)
				for k := range pieces[i] {
					pieces[i][k] = byte(i + k*k>>4)
				}
				if size > leastLease {
					long, lent = long+1, 1
				}
			}
			second := make([]byte, 2*shortTensor)
			want := &inference.ModelInferRequest{ModelName: "m", RawInputContents: [][]byte{slices.Concat(pieces...), second}}
			kept := 0
			data, err := codec{}.Marshal(&question{
				ModelInferRequest: &inference.ModelInferRequest{ModelName: "m", RawInputContents: [][]byte{nil, second}}, pieces: pieces,
				keep: func() func() { kept++; return func() { kept-- } },
			})
			if err != nil {
				t.Fatal(err)
			}
			got := &inference.ModelInferRequest{}
			if err := proto.Unmarshal(data.Materialize(), got); err != nil || !proto.Equal(got, want) {
				t.Errorf("it reads as %.200v, %v", got, err)
			}
			if kept != lent+1 {
				t.Errorf("kept %d times, want %d and once for the second tensor", kept, lent)
			}
			shared := 0
			for _, b := range data {
				for _, p := range pieces {
					if len(p) > leastLease && len(b.ReadOnlyData()) > 0 && &b.ReadOnlyData()[0] == &p[0] {
						shared++
					}
				}
			}
			if shared != long {
				t.Errorf("%d of %d long pieces are sent from where they lie", shared, long)
			}
			for i, b := range data { // as gRPC frees them: in their order
				if b.Free(); i < len(data)-2 && kept < 1 {
					t.Errorf("the memory is free before buffer %d of %d was read", i+1, len(data))
				}
			}
			if kept != 0 {
				t.Errorf("kept %d times after the end", kept)
			}
		})
	}
}
