package onnx_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/backendtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	t.Parallel()
	backendtest.Conform(t, backendtest.Harness{
		Open: func(t *testing.T) backend.Driver {
			t.Helper()
			return backendtest.OpenFaces(t, 1)
		},
		Config: backendtest.FacesConfig(t, 4),
		Unfit:  unfit,
	})
}

// TestConformanceOfARecurrentModel runs the suite with the embedded speech detector, whose state goes through the router.
func TestConformanceOfARecurrentModel(t *testing.T) {
	t.Parallel()
	backendtest.Conform(t, backendtest.Harness{
		Open: func(t *testing.T) backend.Driver {
			t.Helper()
			return backendtest.OpenSpeech(t, 1)
		},
		Config: backendtest.SpeechConfig(t, 5),
		Unfit:  func(input *media.RawTensor) { input.Shape, input.Data = []int{1, 100}, input.Data[:400] },
	})
}

// unfit cuts four rows off. The network halves its maps five times, rounding up, and adds them again on the way back: 220 rows do not meet.
func unfit(input *media.RawTensor) {
	input.Data = input.Data[:len(input.Data)/input.Shape[2]*(input.Shape[2]-4)]
	input.Shape[2] -= 4
}
