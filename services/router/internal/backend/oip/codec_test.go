package oip

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

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
			data, err := codec{}.Marshal(&question{m, func() func() { kept++; return func() { kept-- } }})
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
