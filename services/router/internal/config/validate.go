package config

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-dev/sluice/pkg/config"
	"github.com/sluice-dev/sluice/pkg/detect"
)

const (
	maxName      = 64 // characters; the protocol's limit
	maxBatch     = 1024
	maxInFlight  = 16
	maxThreads   = 256
	maxInstances = 64
	maxDeadline  = time.Minute
	maxDrain     = 10 * time.Minute
	maxRate      = 1000
	maxLine      = 4096 // windows of a stream that wait
	leastWatch   = 100 * time.Millisecond
)

// complaints collects what is wrong, each with the key it is about.
type complaints []error

func (c *complaints) add(key, format string, args ...any) {
	*c = append(*c, fmt.Errorf("%w: %s: %s", config.ErrInvalid, key, fmt.Sprintf(format, args...)))
}

// upTo demands a number from 1 to most.
func (c *complaints) upTo(key string, value, most int) {
	if value < 1 || value > most {
		c.add(key, "%d is not between 1 and %d", value, most)
	}
}

// channels demands a finite number for each channel.
func (c *complaints) channels(key string, list []float64) {
	if len(list) != 3 {
		c.add(key, "has %d numbers: give one for each channel, [a, b, c]", len(list))
	}
	for _, n := range list {
		if math.IsNaN(n) || math.IsInf(n, 0) {
			c.add(key, "%g is no finite number", n)
		}
	}
}

// validate tells everything that is wrong with the configuration, each with its key. All errors wrap the shared config.ErrInvalid.
func (c *Config) validate() error {
	var wrong complaints
	listen(&wrong, "listen", c.Listen)
	listen(&wrong, "admin.listen", c.Admin.Listen)
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		wrong.add("tls", "cert and key belong together: give both or none")
	}
	if c.TLS.ClientCA != "" && c.TLS.Cert == "" {
		wrong.add("tls.client_ca", "edges can show certificates over TLS only: give cert and key too")
	}
	if len(c.TLS.ClientNames) > 0 && c.TLS.ClientCA == "" {
		wrong.add("tls.client_names", "edges are asked for certificates with client_ca only: give it too")
	}
	if slices.Contains(c.TLS.ClientNames, "") {
		wrong.add("tls.client_names", "a name is empty")
	}
	if w := time.Duration(c.Watch); w != 0 && w < leastWatch {
		wrong.add("watch", "%v is less than %v: a file does not change so often", w, leastWatch)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		wrong.add("log.format", "%q is none of text, json", c.Log.Format)
	}
	if err := c.Trace.Validate("trace"); err != nil {
		wrong = append(wrong, err)
	}
	if time.Duration(c.Drain) > maxDrain {
		wrong.add("drain", "%v is more than %v", time.Duration(c.Drain), maxDrain)
	}
	if len(c.Models) == 0 {
		wrong.add("models", "there are none: name a configuration with --config, deploy/config/router.yaml shows one")
	}
	first := map[string]int{}
	for i, m := range c.Models {
		key := fmt.Sprintf("models[%d]", i)
		if m.Name != "" {
			key = fmt.Sprintf("models[%d] (%s)", i, m.Name)
		}
		m.validate(&wrong, key)
		if earlier, taken := first[m.Name]; taken && m.Name != "" {
			wrong.add(key+".name", "%q is the name of models[%d] already: clients ask by name, so choose another", m.Name, earlier)
			continue
		}
		first[m.Name] = i
	}
	return errors.Join(wrong...)
}

func (m *Model) validate(wrong *complaints, key string) {
	switch {
	case m.Name == "":
		wrong.add(key+".name", "is empty: clients ask for the model by it")
	case len([]rune(m.Name)) > maxName || strings.ContainsAny(m.Name, "&=;?#/ \t\n"):
		wrong.add(key+".name", "%q must have at most %d characters and none that means something in an address (&=;?#/ or space)", m.Name, maxName)
	}
	m.Backend.validate(wrong, key+".backend", m)
	if m.Input.validate(wrong, key+".input") {
		m.validateFit(wrong, key)
		if _, err := detect.New(m.Detect()); err != nil {
			wrong.add(key+".output", "%v", err)
		}
		if o := m.Output.Overlap; o != nil && *o == 0 {
			wrong.add(key+".output.overlap", "must be more than 0: boxes of a class that overlap less than that are kept")
		}
	}
	m.validateBeside(wrong, key)
	wrong.upTo(key+".batch.max", m.Batch.Max, maxBatch)
	wrong.upTo(key+".batch.in_flight", m.Batch.InFlight, maxInFlight)
	if !(m.Rate >= 0 && m.Rate <= maxRate) {
		wrong.add(key+".rate", "%g is not between 0 (every unit) and %d a second", m.Rate, maxRate)
	}
	if d := time.Duration(m.Deadline); d < time.Millisecond || d > maxDeadline {
		wrong.add(key+".deadline", "%v is not between 1ms and %v", d, maxDeadline)
	}
}

// validateFit checks what depends on the kind of a model's input. The input is valid.
func (m *Model) validateFit(wrong *complaints, key string) {
	if m.Backend.ONNX != nil && m.Input.files() {
		wrong.add(key+".input", "texts and files (JPEG, JSON) travel as BYTES, which onnx backends do not take: use a websocket or oip backend")
	}
	if m.Input.Kind != sound {
		return
	}
	if m.Rate != 0 {
		wrong.add(key+".rate", "every window of sound goes to the model, as often as input.hop says: leave it out")
	}
	if window := m.Input.windowTime(); time.Duration(m.Deadline) <= window {
		wrong.add(key+".deadline", "%v is not longer than a window, whose last sample comes %v after its first: there would be no time left for the model",
			time.Duration(m.Deadline), window)
	}
	if windows := time.Duration(m.Deadline).Seconds() * float64(m.Input.Rate) / float64(m.Input.Hop); windows > maxLine {
		wrong.add(key+".input.hop", "%d samples let %.0f windows begin within the deadline of %v, and of each stream that many may wait: at most %d can; make the hop longer or the deadline shorter",
			m.Input.Hop, windows, time.Duration(m.Deadline), maxLine)
	}
}

func (b *Backend) validate(wrong *complaints, key string, m *Model) {
	places := 0
	for _, there := range []bool{b.ONNX != nil, b.OIP != nil, b.WebSocket != nil} {
		if there {
			places++
		}
	}
	switch {
	case places == 0:
		wrong.add(key, "is empty: write {onnx: {path: FILE}}, {oip: {targets: [\"dns:///host:8001\"], model: NAME}} or {websocket: {url: \"wss://HOST/PATH\"}}")
	case places > 1:
		wrong.add(key, "onnx, oip and websocket exclude each other: a model runs in one place")
	case b.ONNX != nil:
		if b.ONNX.Path == "" {
			wrong.add(key+".onnx.path", "is empty: name the model's file")
		}
		wrong.upTo(key+".onnx.threads", b.ONNX.Threads, maxThreads)
		wrong.upTo(key+".onnx.instances", b.ONNX.Instances, maxInstances)
	case b.OIP != nil:
		b.OIP.validate(wrong, key+".oip")
	default:
		b.WebSocket.validate(wrong, key+".websocket", m)
	}
}

func (b *OIPBackend) validate(wrong *complaints, key string) {
	if len(b.Targets) == 0 {
		wrong.add(key+".targets", "is empty: write [\"dns:///host:8001\"], the server's gRPC address")
	}
	wrong.upTo(key+".instances", b.Instances, maxInstances)
	for i, target := range b.Targets {
		if strings.TrimSpace(target) == "" {
			wrong.add(fmt.Sprintf("%s.targets[%d]", key, i), "is empty: write dns:///host:8001")
		}
	}
	b.TLS.validate(wrong, key+".tls")
}

func (t *ServerTLS) validate(wrong *complaints, key string) {
	if (t.Cert == "") != (t.Key == "") {
		wrong.add(key, "cert and key belong together: give both or none")
	}
	if t.Cert != "" && t.CA == "" {
		wrong.add(key+".ca", "a certificate is of no use on a plaintext connection: give the CA that signs the servers' certificates too")
	}
}

// Detect says how the model's outputs become results. The model's input is valid.
func (m *Model) Detect() detect.Config {
	overlap := 0.0
	if m.Output.Overlap != nil {
		overlap = *m.Output.Overlap
	}
	return detect.Config{
		Decoder: m.Output.Decoder, Input: m.Input.Form().Picture, Threshold: *m.Output.Threshold, Labels: m.Output.Labels, Outputs: m.Output.Tensors,
		Version: m.Output.Version, Coordinates: m.Output.Coordinates, Corners: m.Output.Corners, Overlap: overlap,
	}
}

// Files gives the paths of the files that the model is made of, but for tokens and those of TLS, which are read again whenever they are needed.
func (m *Model) Files() []string {
	if m.Backend.ONNX == nil {
		return nil
	}
	return []string{string(m.Backend.ONNX.Path)}
}

// CheckFiles tells which of the files that the configuration names are not there.
func (c *Config) CheckFiles() error {
	var wrong complaints
	there := func(key, path, advice string) {
		_, err := os.Stat(path)
		switch {
		case err == nil:
		case errors.Is(err, fs.ErrNotExist):
			wrong.add(key, "there is no file %s: %s", path, advice)
		default:
			wrong.add(key, "%v", err)
		}
	}
	named := func(key string, path config.Path) {
		if path != "" {
			there(key, string(path), "correct the path, which is relative to the configuration file")
		}
	}
	namedTLS := func(key string, t ServerTLS) {
		named(key+".ca", t.CA)
		named(key+".cert", t.Cert)
		named(key+".key", t.Key)
	}
	needsONNX := false
	for i, m := range c.Models {
		key := fmt.Sprintf("models[%d] (%s).backend", i, m.Name)
		if m.Backend.ONNX != nil {
			needsONNX = true
			there(key+".onnx.path", string(m.Backend.ONNX.Path), "correct the path, which is relative to the configuration file; `make models` fetches the embedded models")
		}
		if m.Backend.OIP != nil {
			namedTLS(key+".oip.tls", m.Backend.OIP.TLS)
		}
		if m.Backend.WebSocket != nil {
			named(key+".websocket.token", m.Backend.WebSocket.Token)
			namedTLS(key+".websocket.tls", m.Backend.WebSocket.TLS)
		}
	}
	if library := string(c.ONNX.Library); needsONNX && strings.ContainsRune(library, os.PathSeparator) {
		there("onnx.library", library, "`make models` fetches the ONNX Runtime into .cache/onnxruntime")
	}
	named("tls.cert", c.TLS.Cert)
	named("tls.key", c.TLS.Key)
	named("tls.client_ca", c.TLS.ClientCA)
	return errors.Join(wrong...)
}

// listen checks an address to listen on: host:port, where the host may be missing and the port a number.
func listen(wrong *complaints, key, address string) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		wrong.add(key, "%q is no address to listen on: write :PORT or HOST:PORT", address)
		return
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		wrong.add(key, "%q has no port between 0 and 65535", address)
	}
}
