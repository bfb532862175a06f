package backendtest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestFake shows that the suite can be passed, and by the smallest driver there is.
func TestFake(t *testing.T) {
	t.Parallel()
	for _, datatype := range []media.Datatype{media.FP32, media.Uint8} {
		t.Run(string(datatype), func(t *testing.T) {
			t.Parallel()
			config := backend.Config{
				Name:     "fake",
				Input:    tensor.Picture{Width: 5, Height: 3, Layout: tensor.NHWC, Datatype: datatype, Scale: [3]float64{1, 1, 1}},
				MaxBatch: 4,
			}
			backendtest.Conform(t, backendtest.Harness{
				Open:   func(*testing.T) backend.Driver { return backendtest.NewFake("fake", config) },
				Config: config,
				Unfit:  func(input *media.RawTensor) { input.Shape = input.Shape[:2] },
			})
		})
	}
}

// TestRecurrentFake shows that the suite's part about states can be passed.
func TestRecurrentFake(t *testing.T) {
	t.Parallel()
	config := backend.Config{
		Name: "fake", Input: tensor.Sound{Samples: 32, Datatype: media.Int16}, MaxBatch: 4,
		States: []backend.StatePair{{Input: "h", Output: "hn"}, {Input: "c", Output: "cn"}}, Constants: []backend.Constant{{Name: "sr", Value: 8000}},
		Windows: media.SoundInput{Rate: 8000, Window: 32, Hop: 16},
	}
	backendtest.Conform(t, backendtest.Harness{
		Open:   func(*testing.T) backend.Driver { return backendtest.NewFake("fake", config) },
		Config: config,
		Unfit:  func(input *media.RawTensor) { input.Shape = input.Shape[:1] },
	})
}
