// Package config is the router's configuration: what router.yaml holds, its defaults and its rules. deploy/config/router.yaml documents every key.
package config

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"github.com/sluice-dev/sluice/pkg/config"
)

// Config is router.yaml.
type Config struct {
	Listen string          `yaml:"listen" help:"address for edges, inspection, health and reflection"`
	TLS    TLS             `yaml:"tls"`
	ONNX   ONNX            `yaml:"onnx"`
	Models []Model         `yaml:"models"`
	Admin  Admin           `yaml:"admin"`
	Log    Log             `yaml:"log"`
	Trace  config.Trace    `yaml:"trace"`
	Watch  config.Duration `yaml:"watch" help:"how often to look whether the configuration file has changed, and read it again if so; 0: at SIGHUP only"`
	Drain  config.Duration `yaml:"drain" help:"how long the router goes on after SIGTERM for edges that find no other one"`
}

// TLS secures the listener: without a certificate it is plaintext, and with a client CA only edges that it signed may call.
type TLS struct {
	Cert     config.Path `yaml:"cert" help:"certificate chain, PEM; empty: plaintext"`
	Key      config.Path `yaml:"key" help:"private key of the certificate, PEM"`
	ClientCA config.Path `yaml:"client_ca" help:"certificates that sign the edges', PEM; empty: edges need none"`
	// ClientNames are DNS names and URIs as certificates hold them.
	ClientNames []string `yaml:"client_names" help:"names for any of which an edge's certificate must be; empty: any that client_ca signed"`
}

// ONNX says where the ONNX Runtime is that runs onnx backends.
type ONNX struct {
	Library config.Program `yaml:"library" help:"shared library of the ONNX Runtime: a path, or a name that the linker looks for"`
}

// Model is one model that clients can ask for.
type Model struct {
	Name      string          `yaml:"name"`
	Backend   Backend         `yaml:"backend"`
	Input     Input           `yaml:"input"`
	State     []State         `yaml:"state"`
	Constants []Constant      `yaml:"constants"`
	Output    Output          `yaml:"output"`
	Batch     Batch           `yaml:"batch"`
	Rate      float64         `yaml:"rate"`
	Deadline  config.Duration `yaml:"deadline"`
}

// Backend says where a model runs: exactly one is set.
type Backend struct {
	ONNX      *ONNXBackend      `yaml:"onnx"`
	OIP       *OIPBackend       `yaml:"oip"`
	WebSocket *WebSocketBackend `yaml:"websocket"`
}

// ONNXBackend is a model in the router's own process.
type ONNXBackend struct {
	Path      config.Path `yaml:"path"`
	Threads   int         `yaml:"threads"`   // of each instance; 0 means 1
	Instances int         `yaml:"instances"` // sessions, each of which runs one batch at a time; 0 means 1
}

// OIPBackend is a model on servers of the Open Inference Protocol v2 (gRPC).
type OIPBackend struct {
	Targets   []string  `yaml:"targets"`
	Model     string    `yaml:"model"`     // empty means the model's name here
	Version   string    `yaml:"version"`   // empty lets the server choose
	Instances int       `yaml:"instances"` // of the model behind each target, each of which runs one batch at a time; 0 means 1
	Correlate bool      `yaml:"correlate"` // tell the server whose frames a batch holds
	TLS       ServerTLS `yaml:"tls"`
}

// ServerTLS secures the connections to model servers. They are plaintext without a CA, and mutually authenticated with a certificate.
type ServerTLS struct {
	CA   config.Path `yaml:"ca"`   // certificates that sign the servers', PEM; empty: plaintext
	Cert config.Path `yaml:"cert"` // the router's own certificate chain, PEM
	Key  config.Path `yaml:"key"`  // private key of the certificate, PEM
}

// Output says how a model's tensors become results.
type Output struct {
	Decoder   string   `yaml:"decoder"`
	Threshold *float64 `yaml:"threshold"` // nil means 0.5
	Labels    []string `yaml:"labels"`
	Tensors   []string `yaml:"tensors"` // names of the output tensors, in the decoder's order; empty means the model's own order

	// Of decoders that find objects; see detect.Config.
	Version     string   `yaml:"version"`
	Coordinates string   `yaml:"coordinates"`
	Corners     string   `yaml:"corners"`
	Overlap     *float64 `yaml:"overlap"` // nil means 0.45
}

// Batch bounds the batches of a model.
type Batch struct {
	Max int `yaml:"max"` // 0 means 1
	// InFlight is the number of batches that an instance of the model has at once; 0 means 1 for onnx, and 2 for servers, so that the second is there when the first ends.
	InFlight int `yaml:"in_flight"`
}

// Admin is the side of probes and metrics.
type Admin struct {
	Listen string `yaml:"listen" help:"address of /livez, /readyz and /metrics"`
	Pprof  bool   `yaml:"pprof" help:"also serve /debug/pprof/"`
}

// Log says what is logged and how.
type Log struct {
	Level  slog.Level `yaml:"level" help:"debug, info, warn or error"`
	Format string     `yaml:"format" help:"text or json"`
}

const (
	defaultDeadline  = 250 * time.Millisecond
	defaultThreshold = 0.5
)

// Default gives the configuration that an empty file means; it lacks the models that Validate demands.
func Default() Config {
	return Config{
		Listen: "127.0.0.1:50051",
		ONNX:   ONNX{Library: "libonnxruntime.so"},
		Admin:  Admin{Listen: "127.0.0.1:8082"},
		Log:    Log{Level: slog.LevelInfo, Format: "text"},
		Trace:  config.Trace{Sample: config.DefaultSample},
		Drain:  config.Duration(8 * time.Second),
	}
}

// Load fills c, which holds the defaults and is bound to flags, completes it with what its models left out, and checks it.
func (c *Config) Load(flags *pflag.FlagSet, file string, environ []string) error {
	if err := config.Load(flags, file, environ, c); err != nil {
		return err
	}
	for i := range c.Models {
		c.Models[i].complete()
	}
	return c.validate()
}

// complete sets what was left out.
func (m *Model) complete() {
	if m.Deadline == 0 {
		m.Deadline = config.Duration(defaultDeadline)
	}
	if m.Output.Threshold == nil {
		m.Output.Threshold = new(defaultThreshold)
	}
	if m.Batch.Max == 0 {
		m.Batch.Max = 1
	}
	m.Input.complete()
	slots := 1
	if m.Backend.OIP != nil {
		slots = 2
		if m.Backend.OIP.Model == "" {
			m.Backend.OIP.Model = m.Name
		}
		m.Backend.OIP.Instances = cmp.Or(m.Backend.OIP.Instances, 1)
	}
	if m.Backend.WebSocket != nil {
		slots = 2
		m.Backend.WebSocket.complete(m)
	}
	if m.Batch.InFlight == 0 {
		m.Batch.InFlight = slots
	}
	if m.Backend.ONNX != nil {
		m.Backend.ONNX.Threads = cmp.Or(m.Backend.ONNX.Threads, 1)
		m.Backend.ONNX.Instances = cmp.Or(m.Backend.ONNX.Instances, 1)
	}
}
