package oip_test

import (
	"bufio"
	"context"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/proto/gen/inference"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/oip"
)

type (
	response = inference.ModelInferResponse
	output   = inference.ModelInferResponse_InferOutputTensor
	contents = inference.InferTensorContents
)

// wrongReplies changes a good reply: outputs checksum INT64 [2], first FP32 [2,1] and label BYTES [2,1], all raw. Each is wrong in what only the message says.
func wrongReplies() map[string]func(*response) *response {
	first := func(change func(*output)) func(*response) *response {
		return func(r *response) *response {
			change(r.GetOutputs()[1])
			return r
		}
	}
	shape := func(extents ...int64) func(*response) *response {
		return first(func(o *output) { o.Shape = extents })
	}
	at := func(output int, data ...byte) func(*response) *response {
		return func(r *response) *response {
			r.RawOutputContents[output] = data
			return r
		}
	}
	raw := func(data ...byte) func(*response) *response { return at(1, data...) }
	label := func(data string) func(*response) *response { return at(2, []byte(data)...) }
	typed := func(checksum, first *contents) func(*response) *response {
		return func(r *response) *response {
			r.RawOutputContents = nil
			r.Outputs[0].Contents, r.Outputs[1].Contents, r.Outputs[2].Contents = checksum, first, &contents{BytesContents: [][]byte{nil, nil}}
			return r
		}
	}
	sums := &contents{Int64Contents: []int64{1, 2}}
	return map[string]func(*response) *response{
		"empty":      func(*response) *response { return &response{} },
		"no outputs": func(r *response) *response { r.Outputs = nil; return r },
		"an output less": func(r *response) *response {
			r.Outputs, r.RawOutputContents = r.Outputs[1:], r.RawOutputContents[1:]
			return r
		},
		"an output twice": func(r *response) *response { r.Outputs[0] = r.Outputs[1]; return r },
		"an output more": func(r *response) *response {
			r.Outputs = append(r.Outputs, r.Outputs[0])
			r.RawOutputContents = append(r.RawOutputContents, nil)
			return r
		},
		"a thousand outputs":        func(r *response) *response { r.Outputs = slices.Repeat(r.Outputs, 500); return r },
		"an output swapped":         func(r *response) *response { slices.Reverse(r.RawOutputContents); return r },
		"another name":              first(func(o *output) { o.Name = secret }),
		"no name":                   first(func(o *output) { o.Name = "" }),
		"another datatype":          first(func(o *output) { o.Datatype = "INT32" }),
		"no datatype":               first(func(o *output) { o.Datatype = "" }),
		"an unknown datatype":       first(func(o *output) { o.Datatype = strings.Repeat(secret, 1000) }),
		"text":                      first(func(o *output) { o.Datatype = "BYTES" }),
		"no shape":                  shape(),
		"a frame less":              shape(1, 1),
		"a frame more":              shape(3, 1),
		"no frame":                  shape(0, 1),
		"a negative frame":          shape(-2, 1),
		"an axis less":              shape(2),
		"an axis more":              shape(2, 1, 1),
		"a hundred axes":            shape(slices.Repeat([]int64{1}, 100)...),
		"another extent":            shape(2, 2),
		"frames and extent swapped": shape(1, 2),
		"an extent beyond memory":   shape(2, math.MaxInt64),
		"a product that overflows":  shape(1<<62, 4),
		"a negative extent":         shape(2, -1),
		"a byte less":               raw(0, 0, 0, 0, 0, 0, 0),
		"a byte more":               raw(0, 0, 0, 0, 0, 0, 0, 0, 0),
		"no bytes":                  raw(),
		"NaN":                       raw(0, 0, 0xc0, 0x7f, 0, 0, 0, 0),
		"NaN in the last frame":     raw(0, 0, 0, 0, 1, 0, 0x80, 0xff),
		"infinity":                  raw(0, 0, 0x80, 0x7f, 0, 0, 0, 0),
		"negative infinity":         raw(0, 0, 0, 0, 0, 0, 0x80, 0xff),
		"a text less":               label("\x02\x00\x00\x00ab"),
		"a text more":               label("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		"a text cut short":          label("\x02\x00\x00\x00ab\x02\x00\x00\x00a"),
		"a text's length cut short": label("\x02\x00\x00\x00ab\x02\x00\x00"),
		"a text of 4 GiB":           label("\xff\xff\xff\xffab\x00\x00\x00\x00"),
		"a text of -1 bytes":        label("\x02\x00\x00\x00ab\xff\xff\xff\xff"),
		"bytes behind the texts":    label("\x02\x00\x00\x00ab\x01\x00\x00\x00cd"),
		"texts without lengths":     label("abab"),
		"raw contents less":         func(r *response) *response { r.RawOutputContents = r.RawOutputContents[:1]; return r },
		"raw contents more":         func(r *response) *response { r.RawOutputContents = append(r.RawOutputContents, nil); return r },
		"raw and typed contents":    first(func(o *output) { o.Contents = &contents{Fp32Contents: []float32{1, 2}} }),
		"no contents at all":        func(r *response) *response { r.RawOutputContents = nil; return r },
		"typed, an element less":    typed(sums, &contents{Fp32Contents: []float32{1}}),
		"typed, an element more":    typed(sums, &contents{Fp32Contents: []float32{1, 2, 3}}),
		"typed, of another type":    typed(sums, &contents{Fp64Contents: []float64{1, 2}}),
		"typed, of two types":       typed(sums, &contents{Fp32Contents: []float32{1, 2}, IntContents: []int32{1}}),
		"typed, a text less": func(r *response) *response {
			r = typed(sums, &contents{Fp32Contents: []float32{1, 2}})(r)
			r.Outputs[2].Contents.BytesContents = [][]byte{[]byte("ab")}
			return r
		},
		"typed NaN":               typed(sums, &contents{Fp32Contents: []float32{1, float32(math.NaN())}}),
		"typed, only one of them": typed(sums, nil),
		"another request's":       func(r *response) *response { r.Id += "0"; return r },
		"the first request's":     func(r *response) *response { r.Id = strings.TrimRight(r.Id, "0123456789") + "1"; return r },
		"another driver's":        func(r *response) *response { r.Id = strings.ToLower(r.Id); return r },
		"another version's":       func(r *response) *response { r.ModelVersion = "2"; return r },
		"another model's":         func(r *response) *response { r.ModelName = secret; return r },
		"oversized":               raw(make([]byte, 1<<21)...),
		"oversized elsewhere":     func(r *response) *response { r.Id = strings.Repeat("i", 1<<21); return r },
	}
}

// TestEmptyContentsBesideRawAreTaken answers as MLServer does: raw contents, and for each output empty typed ones.
func TestEmptyContentsBesideRawAreTaken(t *testing.T) {
	t.Parallel()
	model, err := backend.New(small(), serve(t, &scripted{infer: func(_ context.Context, r *response) (*response, error) {
		for _, o := range r.Outputs {
			o.Contents = &contents{}
		}
		return r, nil
	}}))
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	if err := model.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
}

// TestTypedRepliesAreTaken is the other half of the table: what must not be refused.
func TestTypedRepliesAreTaken(t *testing.T) {
	t.Parallel()
	driver := serve(t, &scripted{infer: func(_ context.Context, r *response) (*response, error) {
		r.RawOutputContents, r.Id, r.ModelName = nil, "", "" // some servers echo neither
		r.Outputs[0].Contents = &contents{Int64Contents: []int64{-1, 2}}
		r.Outputs[1].Contents = &contents{Fp32Contents: []float32{1.5, -2}}
		slices.Reverse(r.Outputs)
		return r, nil
	}})
	model, err := backend.New(small(), driver)
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	// The trial with a single frame cannot pass: this server always answers for two.
	if err := model.Check(t.Context()); backend.CodeOf(err) != media.BackendProtocol {
		t.Errorf("Check = %v, want %s", err, media.BackendProtocol)
	}
	out, err := driver.Infer(t.Context(), batchOf(t, 2, "checksum", "first"))
	if err != nil {
		t.Fatal(err)
	}
	first, checksum := out.Tensors[0], out.Tensors[1]
	if first.Name != "first" || string(first.Data) != "\x00\x00\xc0\x3f\x00\x00\x00\xc0" ||
		string(checksum.Data) != "\xff\xff\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("tensors = %+v, %+v", first, checksum)
	}
}

func TestWrongMetadata(t *testing.T) {
	t.Parallel()
	type metadata = inference.ModelMetadataResponse_TensorMetadata
	many := slices.Repeat([]*metadata{{Name: "x", Datatype: "FP32", Shape: []int64{-1}}}, 65)
	for name, m := range map[string]*inference.ModelMetadataResponse{
		"too many outputs":         {Outputs: many},
		"too many inputs":          {Inputs: many},
		"too many axes":            {Outputs: []*metadata{{Name: "x", Datatype: "FP32", Shape: make([]int64, 9)}}},
		"a shape below -1":         {Outputs: []*metadata{{Name: "x", Datatype: "FP32", Shape: []int64{-2}}}},
		"a shape beyond memory":    {Outputs: []*metadata{{Name: "x", Datatype: "FP32", Shape: []int64{1 << 40}}}},
		"a name without end":       {Outputs: []*metadata{{Name: strings.Repeat("x", 1000), Datatype: "FP32", Shape: []int64{-1}}}},
		"no name":                  {Outputs: []*metadata{{Datatype: "FP32", Shape: []int64{-1}}}},
		"a datatype without end":   {Outputs: []*metadata{{Name: "x", Datatype: strings.Repeat("x", 1000), Shape: []int64{-1}}}},
		"larger than any metadata": {Platform: strings.Repeat(secret, 1<<16)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			driver := serve(t, &scripted{metadata: func() (*inference.ModelMetadataResponse, error) { return m, nil }})
			defer driver.Close()
			_, err := driver.Describe(t.Context())
			expect(t, err, media.BackendProtocol)
		})
	}
}

// TestGarbage talks to a server that answers with bytes of no protocol, and to one that hangs up in the middle of a call.
func TestGarbage(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{"garbage": strings.Repeat(secret, 100), "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			driver := open(t, oip.Config{Target: serveBytes(t, answer), Model: "small"})
			defer driver.Close()
			_, err := driver.Infer(t.Context(), batchOf(t, 1, "first"))
			expect(t, err, media.BackendUnavailable) // no connection comes about
		})
	}
}

func serveBytes(t *testing.T, answer string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(conn).Peek(1)
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return listener.Addr().String()
}

// TestOversizedRequestIsTheServersWord tells the server's own limit from ours: both are RESOURCE_EXHAUSTED.
func TestOversizedRequestIsTheServersWord(t *testing.T) {
	t.Parallel()
	driver := serve(t, &scripted{infer: func(context.Context, *response) (*response, error) {
		return nil, status.Error(codes.ResourceExhausted, "Received message larger than max (4128790 vs. 4194304)")
	}})
	defer driver.Close()
	_, err := driver.Infer(t.Context(), batchOf(t, 1, "first"))
	expect(t, err, media.BackendRejected)
}
