package stub

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluice-dev/sluice/proto/gen/inference"
)

func configured(change func(*Config)) Config {
	c := Config{
		Model: "stub", Width: 64, Echo: 8, Max: 32, Instances: 1, Steady: true, Profile: Profile{Alpha: 20 * time.Millisecond, Beta: 4 * time.Millisecond},
	}
	if change != nil {
		change(&c)
	}
	return c
}

// serving runs a server in virtual time.
func serving(t *testing.T, c Config, test func(t *testing.T, s *Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { s.Run(ctx) })
		test(t, s)
		stop()
		running.Wait()
	})
}

// frames makes a request of frames that begin with their numbers from first.
func frames(first, n int) *inference.ModelInferRequest {
	data := make([]byte, 64*n)
	for i := range n {
		data[64*i] = byte(first + i)
	}
	return &inference.ModelInferRequest{
		ModelName: "stub", Id: "7", Inputs: []*inference.ModelInferRequest_InferInputTensor{{Name: Input, Datatype: "UINT8", Shape: []int64{int64(n), 64}}},
		RawInputContents: [][]byte{data},
	}
}

// TestPictures serves frames of three extents, says so, and takes no others.
func TestPictures(t *testing.T) {
	t.Parallel()
	serving(t, configured(func(c *Config) { c.Shape = []int64{4, 8, 2} }), func(t *testing.T, s *Server) {
		t.Helper()
		about, err := s.ModelMetadata(t.Context(), &inference.ModelMetadataRequest{Name: "stub"})
		if err != nil || !slices.Equal(about.GetInputs()[0].GetShape(), []int64{-1, 4, 8, 2}) {
			t.Errorf("described as %v, %v", about, err)
		}
		if _, err := s.ModelInfer(t.Context(), frames(1, 2)); status.Code(err) != codes.InvalidArgument {
			t.Errorf("flat frames: %v, want InvalidArgument", err)
		}
		pictures := frames(1, 2)
		pictures.Inputs[0].Shape = []int64{2, 4, 8, 2}
		if answer, err := s.ModelInfer(t.Context(), pictures); err != nil || len(answer.GetRawOutputContents()[0]) != 16 {
			t.Errorf("answered %v, %v", answer, err)
		}
	})
}

// TestBatchesTakeTurns sends two batches at once to one instance: they run one after the other, each for α + β·b, and echo their frames.
func TestBatchesTakeTurns(t *testing.T) {
	t.Parallel()
	serving(t, configured(nil), func(t *testing.T, s *Server) {
		t.Helper()
		start := time.Now()
		var both sync.WaitGroup
		for i, n := range []int{5, 10} {
			both.Go(func() {
				<-time.After(time.Duration(i) * time.Millisecond)
				answer, err := s.ModelInfer(t.Context(), frames(10*i, n))
				if err != nil {
					t.Error(err)
					return
				}
				if got, want := time.Since(start), []time.Duration{40e6, 100e6}[i]; got != want {
					t.Errorf("batch of %d: answered after %s, want %s", n, got, want)
				}
				if got, want := answer.GetParameters()[ComputeParameter].GetInt64Param(), int64(20+4*n)*1e6; got != want {
					t.Errorf("batch of %d: took %d ns by itself, want %d", n, got, want)
				}
				echo := answer.GetRawOutputContents()[0]
				if len(echo) != 8*n || echo[0] != byte(10*i) || echo[8] != byte(10*i+1) || answer.GetId() != "7" || answer.GetOutputs()[0].GetShape()[0] != int64(n) {
					t.Errorf("batch of %d: answered %v", n, answer)
				}
			})
		}
		both.Wait()
		j := s.Journal()
		if len(j.Batches) != 2 || j.Most != 2 || j.Batches[1].Heads[9] != 19 || j.Batches[1].Started != 40*time.Millisecond {
			t.Errorf("the journal is %+v", j)
		}
		if s.Forget(); len(s.Journal().Batches) != 0 {
			t.Error("the journal was not forgotten")
		}
	})
}

func TestNoise(t *testing.T) {
	t.Parallel()
	n, again := newNoise(7, 0), newNoise(7, 0)
	const draws, d = 20000, 100 * time.Millisecond
	var sum time.Duration
	spiked := 0
	for range draws {
		took := n.of(d)
		if took != again.of(d) {
			t.Fatal("the same seed gives another time")
		}
		if sum += took; took > 125*time.Millisecond {
			spiked++
		}
	}
	if mean := sum / draws; mean < 99*time.Millisecond || mean > 102*time.Millisecond {
		t.Errorf("the mean is %s", mean)
	}
	if spiked < 60 || spiked > 150 {
		t.Errorf("%d of %d were spikes, want one in 200", spiked, draws)
	}
}

// TestFaults switches faults on and off by the remote control.
func TestFaults(t *testing.T) {
	t.Parallel()
	serving(t, configured(nil), func(t *testing.T, s *Server) {
		t.Helper()
		killed := false
		control := s.Control(func() { killed = true })
		tell := func(path string, want int) {
			t.Helper()
			w := httptest.NewRecorder()
			control.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, http.NoBody))
			if w.Code != want {
				t.Errorf("%s: status %d, want %d: %s", path, w.Code, want, w.Body)
			}
		}
		took := func(want time.Duration, code codes.Code) {
			t.Helper()
			start := time.Now()
			_, err := s.ModelInfer(t.Context(), frames(0, 5))
			if got := time.Since(start); got != want || status.Code(err) != code {
				t.Errorf("took %s and gave %v, want %s and %s", got, err, want, code)
			}
		}
		const ms = time.Millisecond
		took(40*ms, codes.OK)
		tell("/slow?factor=10", 200)
		took(400*ms, codes.OK)
		tell("/slow?factor=1", 200)
		tell("/fail?code=14", 200)
		took(0, codes.Unavailable)
		tell("/fail?code=0", 200)
		tell("/hang?on=true", 200)
		time.AfterFunc(time.Minute, func() { s.Hang(false) })
		took(time.Minute, codes.OK)
		tell("/ready?on=false", 200)
		if r, _ := s.ModelReady(t.Context(), &inference.ModelReadyRequest{Name: "stub"}); r.GetReady() {
			t.Error("ready, though told not to be")
		}
		tell("/kill", 200)
		if !killed {
			t.Error("not killed")
		}
		for _, bad := range []string{"/slow", "/slow?factor=0", "/slow?factor=NaN", "/fail?code=17", "/fail?code=x", "/hang?on=perhaps"} {
			tell(bad, 400)
		}
		w := httptest.NewRecorder()
		control.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/journal", http.NoBody))
		var j Journal
		if err := json.NewDecoder(w.Body).Decode(&j); err != nil || len(j.Batches) != 3 {
			t.Errorf("the journal is %+v, %v", j, err)
		}
	})
}

func TestRefusesOtherRequests(t *testing.T) {
	t.Parallel()
	serving(t, configured(nil), func(t *testing.T, s *Server) {
		t.Helper()
		for name, change := range map[string]func(*inference.ModelInferRequest){
			"model":    func(r *inference.ModelInferRequest) { r.ModelName = "other" },
			"tensor":   func(r *inference.ModelInferRequest) { r.Inputs[0].Name = "other" },
			"datatype": func(r *inference.ModelInferRequest) { r.Inputs[0].Datatype = "FP32" },
			"shape":    func(r *inference.ModelInferRequest) { r.Inputs[0].Shape = []int64{2, 32} },
			"length":   func(r *inference.ModelInferRequest) { r.RawInputContents[0] = bytes.Repeat([]byte{1}, 63) },
			"batch": func(r *inference.ModelInferRequest) {
				r.Inputs[0], r.RawInputContents[0] = frames(0, 33).Inputs[0], make([]byte, 33*64)
			},
			"no raw": func(r *inference.ModelInferRequest) { r.RawInputContents = nil },
		} {
			r := frames(0, 1)
			change(r)
			if _, err := s.ModelInfer(t.Context(), r); status.Code(err) != codes.InvalidArgument {
				t.Errorf("%s: %v, want INVALID_ARGUMENT", name, err)
			}
		}
	})
}

// TestCancelledRequestsRunAllTheSame gives up on a batch: its instance is busy with it as before.
func TestCancelledRequestsRunAllTheSame(t *testing.T) {
	t.Parallel()
	serving(t, configured(nil), func(t *testing.T, s *Server) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := s.ModelInfer(ctx, frames(0, 5)); status.Code(err) != codes.Canceled {
			t.Errorf("%v, want CANCELLED", err)
		}
		start := time.Now()
		if _, err := s.ModelInfer(t.Context(), frames(0, 5)); err != nil || time.Since(start) != 70*time.Millisecond {
			t.Errorf("the next took %s, %v; want the rest of the first and its own", time.Since(start), err)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"no model":     func(c *Config) { c.Model = "" },
		"short frames": func(c *Config) { c.Width, c.Echo = 4, 4 },
		"long answers": func(c *Config) { c.Echo = 65 },
		"no instance":  func(c *Config) { c.Instances = 0 },
		"no batch":     func(c *Config) { c.Triton = &TritonRules{} },
	} {
		if _, err := New(configured(change)); err == nil || !strings.Contains(err.Error(), " ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
