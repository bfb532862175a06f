package websocket_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConformance runs the suite through a server in front of the embedded models, one of which keeps state, and of a fake, with answers in both forms.
func TestConformance(t *testing.T) {
	t.Parallel()
	fake := small()
	fake.States = []backend.StatePair{{Input: "h", Output: "hn"}}
	fake.Input, fake.Windows = tensor.Sound{Samples: 32, Datatype: media.FP32}, media.SoundInput{Rate: 8000, Window: 32, Hop: 16}
	for name, c := range map[string]struct {
		config  backend.Config
		open    func(t *testing.T) backend.Driver
		numbers bool
		unfit   func(input *media.RawTensor)
	}{
		"faces": {
			config: backendtest.FacesConfig(t, 3),
			open:   func(t *testing.T) backend.Driver { t.Helper(); return backendtest.OpenFaces(t, 1) },
			// The network halves its maps five times, rounding up, and adds them again on the way back: 220 rows do not meet.
			unfit: func(input *media.RawTensor) {
				input.Data = input.Data[:len(input.Data)/input.Shape[2]*(input.Shape[2]-4)]
				input.Shape[2] -= 4
			},
		},
		"speech": {
			config: backendtest.SpeechConfig(t, 3),
			open:   func(t *testing.T) backend.Driver { t.Helper(); return backendtest.OpenSpeech(t, 1) },
			unfit:  func(input *media.RawTensor) { input.Shape, input.Data = []int{1, 100}, input.Data[:400] },
		},
		"numbers": {
			config: fake, numbers: true,
			open:  func(*testing.T) backend.Driver { return backendtest.NewFake("fake", fake) },
			unfit: func(input *media.RawTensor) { input.Shape = input.Shape[:1] },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backendtest.Conform(t, backendtest.Harness{
				Open: func(t *testing.T) backend.Driver {
					t.Helper()
					model := c.open(t)
					t.Cleanup(func() { _ = model.Close() })
					return open(t, (&server{driver: model, numbers: c.numbers}).start(t))
				},
				Config: c.config,
				Unfit:  c.unfit,
			})
		})
	}
}

// small is the configuration of a model whose pictures are four pixels.
func small() backend.Config {
	return backend.Config{
		Name:     "small",
		Input:    tensor.Picture{Width: 2, Height: 2, Layout: tensor.NHWC, Datatype: media.FP32, Scale: [3]float64{1, 1, 1}},
		MaxBatch: 2,
	}
}
