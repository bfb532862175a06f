package transport

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	t.Parallel()
	f := figures{}
	for _, cpu := range []string{"100", "900", "200"} {
		if err := f.add("edge", "goos: linux\nBenchmarkTransport/copied-2  500  1 ns/op  "+cpu+" cpu-ms/1000-frames  7 B/op\nBenchmarkTransport/shared  500  1 ns/op  100 cpu-ms/1000-frames\nPASS\n"); err != nil {
			t.Fatal(err)
		}
	}
	for _, datatype := range []string{"NHWC-UINT8", "NCHW-UINT8", "NCHW-FP32"} {
		shared := map[string]string{"NHWC-UINT8": "291", "NCHW-UINT8": "290", "NCHW-FP32": "290"}[datatype]
		out := "BenchmarkTransport/" + datatype + "/copied-16 1 400 cpu-ms/1000-frames\nBenchmarkTransport/" + datatype + "/shared-16 1 " + shared + " cpu-ms/1000-frames\n"
		if err := f.add("router", out); err != nil {
			t.Fatal(err)
		}
	}
	var text strings.Builder
	if missed := report(&text, f); missed != 1 {
		t.Errorf("%d goals are missed, want one:\n%s", missed, text.String())
	}
	for _, want := range []string{"200", "0.50", "0.65", "600", "391", "Missed by 1 of 3"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report has no %q:\n%s", want, text.String())
		}
	}
	if f.add("edge", "PASS\n") == nil || f.add("edge", "BenchmarkTransport/copied 1 x ns/op\n") == nil {
		t.Error("what is no measurement was taken")
	}
}
