package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/sluice-dev/sluice/pkg/config"
	"github.com/sluice-dev/sluice/pkg/detect"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
)

const sample = "../../../../deploy/config/router.yaml"

func load(t *testing.T, file string, environ []string, args ...string) (Config, error) {
	t.Helper()
	c := Default()
	flags := pflag.NewFlagSet("router", pflag.ContinueOnError)
	config.Bind(flags, &c)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	err := c.Load(flags, file, environ)
	return c, err
}

func loadText(t *testing.T, text string) (Config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "router.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return load(t, file, nil)
}

// The sample is the documentation: outside of models it holds every key with its default.
func TestSample(t *testing.T) {
	t.Parallel()
	c, err := load(t, sample, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Models) != 2 {
		t.Fatalf("%d models, want the embedded ones", len(c.Models))
	}
	m := c.Models[0]
	if m.Name != "faces" || m.Backend.ONNX == nil || filepath.Base(string(m.Backend.ONNX.Path)) != "faces.onnx" || m.Rate != 15 ||
		time.Duration(m.Deadline) != 250*time.Millisecond || m.Batch != (Batch{Max: 4, InFlight: 1}) {
		t.Errorf("the model is %+v", m)
	}
	if got, want := m.Input.Form(), media.PictureForm(media.PictureInput{Width: 384, Height: 224, Fit: media.Letterbox, Color: media.RGB}); got != want {
		t.Errorf("the input is %+v, want %+v", got, want)
	}
	if got, want := m.Input.Tensor(), (tensor.Picture{Width: 384, Height: 224, Layout: tensor.NCHW, Datatype: media.FP32, Scale: [3]float64{1, 1, 1}}); got != want {
		t.Errorf("the tensor is %+v, want %+v", got, want)
	}
	if d := m.Detect(); d.Decoder != "centerface" || d.Threshold != 0.5 {
		t.Errorf("the decoder is %+v", d)
	}
	sampleSpeech(t, c.Models[1])
	want := Default()
	want.Models, want.ONNX, want.TLS.ClientNames = c.Models, c.ONNX, []string{}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("the sample gives\n%+v\nwant the defaults\n%+v", c, want)
	}
}

func sampleSpeech(t *testing.T, m Model) {
	t.Helper()
	if m.Name != "speech" || m.Backend.ONNX == nil || filepath.Base(string(m.Backend.ONNX.Path)) != "speech.onnx" || m.Input.Name != "input" ||
		!slices.Equal(m.State, []State{{"state", "stateN"}}) || !slices.Equal(m.Constants, []Constant{{"sr", 16000}}) || m.Batch != (Batch{Max: 16, InFlight: 1}) {
		t.Errorf("the model is %+v", m)
	}
	if got, want := m.Input.Form(), media.SoundForm(media.SoundInput{Rate: 16000, Window: 512, Hop: 512, Context: 64}); got != want {
		t.Errorf("the input is %+v, want %+v", got, want)
	}
	if got, want := m.Input.Tensor(), (tensor.Sound{Samples: 576, Datatype: media.FP32}); got != want {
		t.Errorf("the tensor is %+v, want %+v", got, want)
	}
	if d := m.Detect(); d.Decoder != "speech" || d.Input != (media.PictureInput{}) {
		t.Errorf("the decoder is %+v", d)
	}
}

func TestSampleShowsEveryKey(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	var check func(reflect.Type)
	check = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct {
			return
		}
		for i := range typ.NumField() {
			key := typ.Field(i).Tag.Get("yaml")
			if !regexp.MustCompile(`[ {\n#-]` + key + `:`).Match(text) {
				t.Errorf("the sample does not show %s of %s", key, typ)
			}
			check(typ.Field(i).Type)
		}
	}
	check(reflect.TypeFor[Config]())
}

// smallest is the least that a user can write.
const smallest = `
models:
  - name: faces
    backend: {onnx: {path: faces.onnx}}
    input: {width: 320, height: 256, fit: letterbox, color: RGB, layout: NCHW, dtype: FP32}
    output: {decoder: centerface}
`

func TestModelDefaults(t *testing.T) {
	t.Parallel()
	c, err := loadText(t, smallest)
	if err != nil {
		t.Fatal(err)
	}
	m := c.Models[0]
	if *m.Output.Threshold != 0.5 || m.Batch != (Batch{1, 1}) || m.Rate != 0 || time.Duration(m.Deadline) != 250*time.Millisecond ||
		m.Input.Tensor().(tensor.Picture).Scale != [3]float64{1, 1, 1} || m.Backend.ONNX.Threads != 1 {
		t.Errorf("the model is %+v", m)
	}
	if keys, err := loadText(t, strings.Replace(smallest, "dtype: FP32", "dtype: FP32, frames: key", 1)); err != nil || !keys.Models[0].Input.KeyOnly() || m.Input.KeyOnly() {
		t.Errorf("key frames only: %v, %v, by default %v", keys.Models[0].Input.KeyOnly(), err, m.Input.KeyOnly())
	}
	c, err = loadText(t, strings.Replace(smallest, "onnx: {path: faces.onnx}", `oip: {targets: ["dns:///a:1", "dns:///b:1"]}`, 1))
	if err != nil {
		t.Fatal(err)
	}
	if m := c.Models[0]; m.Batch.InFlight != 2 || m.Backend.OIP.Model != "faces" {
		t.Errorf("the model is %+v, want two batches in flight and its own name on the server", m)
	}
	c, err = loadText(t, strings.Replace(smallest, "onnx: {path: faces.onnx}", `websocket: {url: "ws://a/b?c=d"}`, 1))
	if err != nil {
		t.Fatal(err)
	}
	if m := c.Models[0]; m.Batch.InFlight != 2 || m.Backend.WebSocket.Model != "faces" || m.Backend.WebSocket.Instances != 1 || len(m.Backend.WebSocket.Outputs) > 0 {
		t.Errorf("the model is %+v, want two batches in flight, its own name on the server, and the server asked for what it gives", m)
	}
	zero, err := loadText(t, strings.Replace(smallest, "decoder: centerface", "decoder: classes, threshold: 0", 1))
	if err != nil || *zero.Models[0].Output.Threshold != 0 {
		t.Errorf("a threshold of 0 that was written became %v, %v", *zero.Models[0].Output.Threshold, err)
	}
}

// TestDescribedByTheConfiguration tells what a websocket backend takes and gives: as written, and for JSON of the model's own without a word.
func TestDescribedByTheConfiguration(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ backend, decoder, want string }{
		"asked":   {`{url: "ws://a"}}`, "tensors", "[] → []"},
		"written": {`{url: "ws://a", outputs: [{name: boxes, dtype: FP32, shape: [-1, 4]}]}}`, "tensors", "[input FP32 [?,3,256,320]] → [boxes FP32 [?,?,4]]"},

		"JSON":          {`{url: "ws://a"}}`, "json", "[input FP32 [?,3,256,320]] → [json BYTES [?]]"},
		"JSON, named":   {`{url: "ws://a"}}`, "json, tensors: [text]", "[input FP32 [?,3,256,320]] → [text BYTES [?]]"},
		"JSON, several": {`{url: "ws://a"}}`, "json, tensors: [a, b]", "[] → []"},
		"JSON, written": {`{url: "ws://a", outputs: [{name: a, dtype: BYTES, shape: [1]}]}}`, "json", "[input FP32 [?,3,256,320]] → [a BYTES [?,1]]"},

		"JSON, and a constant": {`{url: "ws://a"}}` + "\n    constants: [{name: k, value: 1}]", "json", "[] → []"},
	} {
		loaded, err := loadText(t, strings.NewReplacer("{onnx: {path: faces.onnx}}", "{websocket: "+c.backend, "decoder: centerface", "decoder: "+c.decoder).Replace(smallest))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		inputs, outputs := loaded.Models[0].Described()
		if got := fmt.Sprintf("%v → %v", inputs, outputs); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestFlagsAndEnvironment(t *testing.T) {
	t.Parallel()
	c, err := load(t, sample, []string{"SLUICE_ADMIN_LISTEN=127.0.0.1:0", "SLUICE_LISTEN=:1"}, "--listen", "127.0.0.1:0", "--onnx.library", "libother.so", "--drain", "1s")
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:0" || c.Admin.Listen != "127.0.0.1:0" || c.ONNX.Library != "libother.so" || time.Duration(c.Drain) != time.Second {
		t.Errorf("got %+v", c)
	}
}

// TestRefuses writes each mistake into a good configuration: the error names the key and says what to write.
func TestRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ old, new, key, advice string }{
		"no models":            {smallest, "listen: :1", "models", "--config"},
		"no name":              {"name: faces", `name: ""`, "models[0].name", "empty"},
		"odd name":             {"name: faces", "name: a&b", "models[0] (a&b).name", "address"},
		"duplicate":            {"\nmodels:", "\nmodels:" + strings.TrimPrefix(smallest, "\nmodels:"), "models[1] (faces).name", "models[0]"},
		"no backend":           {"{onnx: {path: faces.onnx}}", "{}", "models[0] (faces).backend", "{onnx: {path: FILE}}"},
		"two backends":         {"{onnx: {path: faces.onnx}}", `{onnx: {path: a}, oip: {targets: [b]}}`, "models[0] (faces).backend", "exclude"},
		"no path":              {"path: faces.onnx", `path: ""`, "models[0] (faces).backend.onnx.path", "name the model's file"},
		"threads":              {"path: faces.onnx", "path: a, threads: -1", "models[0] (faces).backend.onnx.threads", "between 1 and"},
		"no targets":           {"onnx: {path: faces.onnx}", "oip: {model: m}", "models[0] (faces).backend.oip.targets", "dns:///"},
		"empty target":         {"onnx: {path: faces.onnx}", `oip: {targets: ["a", " "]}`, "models[0] (faces).backend.oip.targets[1]", "dns:///"},
		"no instances":         {"path: faces.onnx", "path: a, instances: -1", "models[0] (faces).backend.onnx.instances", "between 1 and"},
		"many instances":       {"onnx: {path: faces.onnx}", "oip: {targets: [a], instances: 65}", "models[0] (faces).backend.oip.instances", "between 1 and"},
		"server key alone":     {"onnx: {path: faces.onnx}", "oip: {targets: [a], tls: {ca: c, key: k}}", "models[0] (faces).backend.oip.tls", "both or none"},
		"server CA missing":    {"onnx: {path: faces.onnx}", "oip: {targets: [a], tls: {cert: c, key: k}}", "models[0] (faces).backend.oip.tls.ca", "give the CA"},
		"no address":           {"onnx: {path: faces.onnx}", "websocket: {model: m}", "models[0] (faces).backend.websocket.url", "wss://"},
		"two addresses":        {"onnx: {path: faces.onnx}", "websocket: {url: 'ws://a', urls: ['ws://b']}", "models[0] (faces).backend.websocket", "one of them"},
		"a token in plaintext": {"onnx: {path: faces.onnx}", "websocket: {url: 'ws://ml.example', token: t}", "models[0] (faces).backend.websocket.token", "wss://"},
		"empty address":        {"onnx: {path: faces.onnx}", "websocket: {urls: ['ws://a', '']}", "models[0] (faces).backend.websocket.urls[1]", "wss://"},
		"no WebSocket":         {"onnx: {path: faces.onnx}", "websocket: {url: 'http://a'}", "models[0] (faces).backend.websocket.url", "ws://HOST:PORT/PATH"},
		"no host":              {"onnx: {path: faces.onnx}", "websocket: {url: 'ws:///a'}", "models[0] (faces).backend.websocket.url", "ws://HOST:PORT/PATH"},
		"a user":               {"onnx: {path: faces.onnx}", "websocket: {url: 'wss://me:word@a'}", "models[0] (faces).backend.websocket.url", "me:xxxxx@"},
		"a fragment":           {"onnx: {path: faces.onnx}", "websocket: {url: 'ws://a/#b'}", "models[0] (faces).backend.websocket.url", "leave it out"},
		"no TLS":               {"onnx: {path: faces.onnx}", "websocket: {url: 'ws://a', tls: {ca: c}}", "models[0] (faces).backend.websocket.tls", "wss://"},
		"TLS cert alone":       {"onnx: {path: faces.onnx}", "websocket: {url: 'wss://a', tls: {cert: c}}", "models[0] (faces).backend.websocket.tls", "both or none"},
		"bridged instances":    {"onnx: {path: faces.onnx}", "websocket: {url: 'ws://a', instances: 65}", "models[0] (faces).backend.websocket.instances", "between 1 and"},
		"nameless output":      {"onnx: {path: faces.onnx}", "websocket: {url: 'ws://a', outputs: [{dtype: FP32}]}", "models[0] (faces).backend.websocket.outputs[0].name", "no other"},
		"output twice":         {"onnx: {path: faces.onnx}", "websocket: {url: 'ws://a', outputs: [{name: a, dtype: FP32}, {name: a, dtype: FP32}]}", "models[0] (faces).backend.websocket.outputs[1].name", "no other"},
		"output dtype":         {"onnx: {path: faces.onnx}", "websocket: {url: 'ws://a', outputs: [{name: a, dtype: float}]}", "models[0] (faces).backend.websocket.outputs[0].dtype", "FP32"},
		"output shape":         {"onnx: {path: faces.onnx}", "websocket: {url: 'ws://a', outputs: [{name: a, dtype: FP32, shape: [0]}]}", "models[0] (faces).backend.websocket.outputs[0].shape", "batch axis"},
		"described state":      {"{onnx: {path: faces.onnx}}", "{websocket: {url: 'ws://a', outputs: [{name: a, dtype: FP32}]}}\n    constants: [{name: k, value: 1}]", "models[0] (faces).backend.websocket.outputs", "describe itself"},
		"misspelt url":         {"onnx: {path: faces.onnx}", "websocket: {ur: 'ws://a'}", "", `did you mean "url"?`},
		"no width":             {"width: 320", "width: 0", "models[0] (faces).input.width", "between 1 and 8192"},
		"huge height":          {"height: 256", "height: 100000", "models[0] (faces).input.height", "between 1 and 8192"},
		"size of the model":    {"width: 320", "width: 321", "models[0] (faces).output", "32"},
		"fit":                  {"fit: letterbox", "fit: squeeze", "models[0] (faces).input.fit", "letterbox, stretch, crop"},
		"color":                {"color: RGB", "color: YUV", "models[0] (faces).input.color", "RGB, BGR"},
		"layout":               {"layout: NCHW", "layout: CHW", "models[0] (faces).input", "NCHW or NHWC"},
		"dtype":                {"dtype: FP32", "dtype: FP8", "models[0] (faces).input", "FP32 or UINT8"},
		"frames":               {"dtype: FP32", "dtype: FP32, frames: some", "models[0] (faces).input.frames", "all, key"},
		"mean":                 {"dtype: FP32", "dtype: FP32, mean: [1]", "models[0] (faces).input.mean", "[a, b, c]"},
		"scale":                {"dtype: FP32", "dtype: FP32, scale: [1, 2, .inf]", "models[0] (faces).input.scale", "finite"},
		"decoder":              {"decoder: centerface", "decoder: yunet", "models[0] (faces).output", "centerface"},
		"version":              {"decoder: centerface", "decoder: yolo, version: v6", "models[0] (faces).output", "v5, v8, v10 or yolox"},
		"coordinates":          {"decoder: centerface", "decoder: ssd, coordinates: feet", "models[0] (faces).output", "pixels or normalized"},
		"corners":              {"decoder: centerface", "decoder: ssd, corners: xywh", "models[0] (faces).output", "xyxy or yxyx"},
		"corners of yolo":      {"decoder: centerface", "decoder: yolo, corners: xyxy", "models[0] (faces).output", "for ssd, and not for yolo"},
		"overlap":              {"decoder: centerface", "decoder: yolo, overlap: 45", "models[0] (faces).output", "from 0 to 1"},
		"no overlap":           {"decoder: centerface", "decoder: yolo, overlap: 0", "models[0] (faces).output.overlap", "more than 0"},
		"threshold":            {"decoder: centerface", "decoder: centerface, threshold: 1.5", "models[0] (faces).output", "from 0 to 1"},
		"batch":                {"output:", "batch: {max: -1}\n    output:", "models[0] (faces).batch.max", "between 1 and"},
		"in flight":            {"output:", "batch: {in_flight: 99}\n    output:", "models[0] (faces).batch.in_flight", "between 1 and"},
		"rate":                 {"output:", "rate: -1\n    output:", "models[0] (faces).rate", "between 0"},
		"deadline":             {"output:", "deadline: 2h\n    output:", "models[0] (faces).deadline", "between 1ms and"},
		"listen":               {"\nmodels:", "\nlisten: '50051'\nmodels:", "listen", "HOST:PORT"},
		"admin":                {"\nmodels:", "\nadmin: {listen: 'a:b'}\nmodels:", "admin.listen", "port"},
		"half a key pair":      {"\nmodels:", "\ntls: {cert: a.pem}\nmodels:", "tls", "both or none"},
		"client CA alone":      {"\nmodels:", "\ntls: {client_ca: a.pem}\nmodels:", "tls.client_ca", "cert and key"},
		"log format":           {"\nmodels:", "\nlog: {format: xml}\nmodels:", "log.format", "text, json"},
		"drain":                {"\nmodels:", "\ndrain: 1h\nmodels:", "drain", "10m"},
		"watch":                {"\nmodels:", "\nwatch: 1ms\nmodels:", "watch", "100ms"},
		"names without a CA":   {"\nmodels:", "\ntls: {cert: c, key: k, client_names: [edge]}\nmodels:", "tls.client_names", "client_ca"},
		"an empty name":        {"\nmodels:", "\ntls: {cert: c, key: k, client_ca: a, client_names: [\"\"]}\nmodels:", "tls.client_names", "empty"},
		"unknown key":          {"backend:", "backends:", "", `did you mean "backend"?`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(smallest, c.old, c.new, 1)
			if text == smallest {
				t.Fatal("the mistake is not in the text")
			}
			_, err := loadText(t, text)
			if !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), c.key+": ") || !strings.Contains(err.Error(), c.advice) {
				t.Errorf("error %v, want one about %q that says %q", err, c.key, c.advice)
			}
		})
	}
}

func TestDetectors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]detect.Config{
		"decoder: yolo, version: v8, coordinates: normalized, overlap: 0.7, labels: [cat, dog], tensors: [output0]": {
			Decoder: "yolo", Version: "v8", Coordinates: "normalized", Overlap: 0.7, Labels: []string{"cat", "dog"}, Outputs: []string{"output0"}, Threshold: 0.5,
		},
		"decoder: ssd, corners: yxyx, threshold: 0.3": {Decoder: "ssd", Corners: "yxyx", Threshold: 0.3},
	} {
		c, err := loadText(t, strings.Replace(smallest, "decoder: centerface", text, 1))
		if err != nil {
			t.Fatal(err)
		}
		want.Input = c.Models[0].Input.Form().Picture
		if got := c.Models[0].Detect(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the decoder is %+v, want %+v", text, got, want)
		}
	}
}

// TestMistakesComeInOrder reads the same mistakes again and again: the complaint is the same, in the order of the keys.
func TestMistakesComeInOrder(t *testing.T) {
	t.Parallel()
	spoiled := strings.Replace(smallest, "dtype: FP32", "dtype: FP32, mean: [1], scale: [1]", 1)
	sound, err := loadText(t, smallest+"tls: {cert: c.pem, key: k.pem, client_ca: ca.pem}\n")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		_, err := loadText(t, spoiled)
		inOrder(t, err, ".mean", ".scale")
		inOrder(t, sound.CheckFiles(), "tls.cert", "tls.key", "tls.client_ca")
	}
}

// inOrder demands that an error says the words in their order.
func inOrder(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	rest := err.Error()
	for _, word := range words {
		_, after, found := strings.Cut(rest, word)
		if !found {
			t.Fatalf("%v: %q is missing or out of order", err, word)
		}
		rest = after
	}
}

func TestCheckFiles(t *testing.T) {
	t.Parallel()
	c, err := loadText(t, smallest+"onnx: {library: ./lib.so}\ntls: {cert: c.pem, key: k.pem}\n")
	if err != nil {
		t.Fatal(err)
	}
	err = c.CheckFiles()
	for _, want := range []string{"models[0] (faces).backend.onnx.path", "faces.onnx", "make models", "onnx.library", "tls.cert", "tls.key"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that names %s", err, want)
		}
	}
	for _, file := range []string{string(c.Models[0].Backend.ONNX.Path), string(c.ONNX.Library), string(c.TLS.Cert), string(c.TLS.Key)} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.CheckFiles(); err != nil {
		t.Errorf("error %v though all files are there", err)
	}
}
