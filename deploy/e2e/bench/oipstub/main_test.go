package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sluice-dev/sluice/proto/gen/inference"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRun starts the server, asks it for a batch at the address that it prints, and stops it.
func TestRun(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-alpha", "0", "-beta", "0", "-batcher", "triton", "-preferred", "4,8"}, write)
	}()
	line, err := bufio.NewReader(read).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var at struct{ GRPC, Control string }
	if err := json.Unmarshal(line, &at); err != nil || !strings.HasPrefix(at.Control, "http://127.0.0.1:") {
		t.Errorf("it printed %s: %v", line, err)
	}
	conn, err := grpc.NewClient(at.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := inference.NewGRPCInferenceServiceClient(conn).ModelInfer(ctx, &inference.ModelInferRequest{
		ModelName: "stub", Inputs: []*inference.ModelInferRequest_InferInputTensor{{Name: "INPUT", Datatype: "UINT8", Shape: []int64{2, 64}}},
		RawInputContents: [][]byte{make([]byte, 128)},
	})
	if err != nil || len(answer.GetRawOutputContents()[0]) != 16 {
		t.Errorf("answered %v, %v", answer, err)
	}
	_ = conn.Close()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestRefusesFlags(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"-batcher other", "-batcher triton -preferred 0", "-batcher triton -preferred x", "-width 4", "-shape 180,x", "-shape 2,2", "more"} {
		if err := run(t.Context(), strings.Fields(bad), io.Discard); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}
