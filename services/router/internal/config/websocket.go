package config

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/sluice-dev/sluice/pkg/config"
	"github.com/sluice-dev/sluice/pkg/media"
	"github.com/sluice-dev/sluice/pkg/tensor"
	"github.com/sluice-dev/sluice/services/router/internal/backend/websocket"
)

// WebSocketBackend is a model on servers that speak nothing but WebSocket, in the framing of deploy/examples/websocket.
type WebSocketBackend struct {
	URL       string      `yaml:"url"`       // ws or wss, with path and query
	URLs      []string    `yaml:"urls"`      // of several servers, instead of url
	Model     string      `yaml:"model"`     // empty means the model's name here
	Outputs   []Tensor    `yaml:"outputs"`   // what the model gives; empty asks the server for it, unless the decoder is json
	Instances int         `yaml:"instances"` // of the model behind each server, each of which runs one batch at a time; 0 means 1
	Token     config.Path `yaml:"token"`     // file that holds a bearer token, read again at each connection; empty: none
	TLS       ServerTLS   `yaml:"tls"`       // for wss
}

// Tensor describes a tensor of a model.
type Tensor struct {
	Name  string `yaml:"name"`
	Dtype string `yaml:"dtype"`
	Shape []int  `yaml:"shape"` // without the batch axis; negative extents are free
}

const jsonDecoder = "json"

// complete sets what was left out. A model whose frames get JSON of its own has nothing else to say about what it gives.
func (w *WebSocketBackend) complete(m *Model) {
	w.Model = cmp.Or(w.Model, m.Name)
	w.Instances = cmp.Or(w.Instances, 1)
	if len(w.Outputs) > 0 || m.Output.Decoder != jsonDecoder || len(m.Output.Tensors) > 1 || m.keeps() {
		return
	}
	w.Outputs = []Tensor{{Name: cmp.Or(strings.Join(m.Output.Tensors, ""), jsonDecoder), Dtype: string(media.Bytes)}}
}

// keeps tells whether the model has inputs beside the frames'.
func (m *Model) keeps() bool { return len(m.State) > 0 || len(m.Constants) > 0 }

// maxExtent bounds the extents of a tensor.
const maxExtent = 1 << 24

func (w *WebSocketBackend) validate(wrong *complaints, key string, m *Model) {
	if w.URL != "" && len(w.URLs) > 0 {
		wrong.add(key, "url is for one server and urls for several: give one of them")
	}
	if len(w.URLs) == 0 {
		w.validateURL(wrong, key, ".url", w.URL)
	}
	for i, address := range w.URLs {
		w.validateURL(wrong, key, fmt.Sprintf(".urls[%d]", i), address)
	}
	if (w.TLS.Cert == "") != (w.TLS.Key == "") {
		wrong.add(key+".tls", "cert and key belong together: give both or none")
	}
	wrong.upTo(key+".instances", w.Instances, maxInstances)
	if len(w.Outputs) > 0 && m.keeps() {
		wrong.add(key+".outputs", "a model with state or constants has to describe itself: leave them out, and let the server say what it takes and gives")
	}
	names := map[string]bool{}
	for i, o := range w.Outputs {
		o.validate(wrong, fmt.Sprintf("%s.outputs[%d]", key, i), names)
	}
}

func (w *WebSocketBackend) validateURL(wrong *complaints, key, at, address string) {
	parsed, err := websocket.CheckURL(address)
	switch {
	case address == "":
		wrong.add(key+at, "is empty: write \"wss://HOST/PATH\", or ws:// for plaintext")
	case err != nil:
		wrong.add(key+at, "%v", err)
	case parsed.Scheme == "ws" && w.Token != "" && !loopback(parsed.Hostname()):
		wrong.add(key+".token", "would travel in plaintext: write wss:// in %s", at[1:])
	case parsed.Scheme == "ws" && w.TLS != ServerTLS{}:
		wrong.add(key+".tls", "is of no use on a plaintext connection: write wss:// in %s", at[1:])
	}
}

// loopback tells whether a host is this machine by its name or address.
func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// Servers gives the addresses of all servers.
func (w *WebSocketBackend) Servers() []string {
	if len(w.URLs) > 0 {
		return w.URLs
	}
	return []string{w.URL}
}

func (t *Tensor) validate(wrong *complaints, key string, names map[string]bool) {
	if t.Name == "" || names[t.Name] {
		wrong.add(key+".name", "%q must be a name that no other output has", t.Name)
	}
	names[t.Name] = true
	if d := media.Datatype(t.Dtype); d.Size() == 0 && d != media.Bytes {
		wrong.add(key+".dtype", "%q is none of BOOL, UINT8 to UINT64, INT8 to INT64, FP16, FP32, FP64, BYTES", t.Dtype)
	}
	if len(t.Shape) > 7 || slices.ContainsFunc(t.Shape, func(extent int) bool { return extent > maxExtent || extent == 0 }) {
		wrong.add(key+".shape", "%v must have at most 7 extents, each from 1 to %d or -1 (free): write the shape without its batch axis", t.Shape, maxExtent)
	}
}

// Described gives what a websocket backend takes and gives as far as the configuration says it: nothing where the server is asked. The model is valid.
func (m *Model) Described() (inputs, outputs []media.TensorSpec) {
	for _, o := range m.Backend.WebSocket.Outputs {
		outputs = append(outputs, media.TensorSpec{Name: o.Name, Datatype: media.Datatype(o.Dtype), Shape: slices.Concat([]int{-1}, o.Shape)})
	}
	if packer, err := tensor.NewPacker(m.Input.Tensor()); err == nil && len(outputs) > 0 {
		inputs = []media.TensorSpec{packer.Spec(cmp.Or(m.Input.Name, "input"))}
	}
	return inputs, outputs
}
