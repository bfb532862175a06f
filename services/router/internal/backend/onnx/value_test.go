package onnx

import (
	"testing"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/sluice-dev/sluice/pkg/media"
)

// TestDatatypes takes every datatype to the runtime's word and back. FP16 goes in only, and texts do neither.
func TestDatatypes(t *testing.T) {
	t.Parallel()
	for _, d := range []media.Datatype{
		media.Bool, media.Uint8, media.Uint16, media.Uint32, media.Uint64, media.Int8, media.Int16, media.Int32, media.Int64, media.FP32, media.FP64,
	} {
		if got := datatype(element(d)); got != d {
			t.Errorf("%s became %q", d, got)
		}
	}
	if got := element(media.FP16); got != ort.TensorElementDataTypeFloat16 {
		t.Errorf("FP16 became %d", got)
	}
	if got := element(media.Bytes); got != ort.TensorElementDataTypeUndefined {
		t.Errorf("BYTES became %d", got)
	}
}
