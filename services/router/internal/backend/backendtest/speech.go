package backendtest

import (
	"testing"

	"github.com/sluice-dev/sluice/pkg/detect"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/onnx"
)

// SpeechInput is the form in which the shipped configuration gives sound to the embedded speech detector.
func SpeechInput() media.SoundInput {
	return media.SoundInput{Rate: 16000, Window: 512, Hop: 512, Context: 64}
}

// SpeechDecoder makes the decoder of the embedded speech detector, as the shipped configuration has it.
func SpeechDecoder(tb testing.TB) *detect.Decoder {
	tb.Helper()
	decoder, err := detect.New(detect.Config{Decoder: "speech"})
	if err != nil {
		tb.Fatal(err)
	}
	return decoder
}

// SpeechConfig describes the embedded speech detector.
func SpeechConfig(tb testing.TB, maxBatch int) backend.Config {
	tb.Helper()
	in := SpeechInput()
	return backend.Config{
		Name:      "speech",
		InputName: "input",
		Input:     tensor.Sound{Samples: in.Samples(), Datatype: media.FP32},
		States:    []backend.StatePair{{Input: "state", Output: "stateN"}},
		Windows:   in,
		Constants: []backend.Constant{{Name: "sr", Value: float64(in.Rate)}},
		MaxBatch:  maxBatch,
		Accept:    SpeechDecoder(tb).Accept,
	}
}

// OpenSpeech opens the embedded speech detector on ONNX Runtime. The caller closes it.
func OpenSpeech(tb testing.TB, threads int) backend.Driver {
	tb.Helper()
	driver, err := Runtime(tb).Open(onnx.Config{Path: Fetched(tb, "models/speech.onnx"), Threads: threads})
	if err != nil {
		tb.Fatal(err)
	}
	return driver
}
