package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-dev/sluice/pkg/detect"
	"github.com/sluice-dev/sluice/pkg/serve"
	"github.com/sluice-dev/sluice/services/router/internal/backend"
	"github.com/sluice-dev/sluice/services/router/internal/backend/oip"
	"github.com/sluice-dev/sluice/services/router/internal/backend/onnx"
	"github.com/sluice-dev/sluice/services/router/internal/backend/websocket"
	"github.com/sluice-dev/sluice/services/router/internal/config"
	"github.com/sluice-dev/sluice/services/router/internal/dispatch"
	"github.com/sluice-dev/sluice/services/router/internal/reply"
)

// maxStreams is the number of streams, of all sessions, that may use one model at a time.
const maxStreams = 8192

// opened is a model with all that it holds open.
type opened struct {
	config config.Model
	// stamp tells a file that the configuration names from another one in its place.
	stamp   string
	backend *backend.Model
	model   dispatch.ModelConfig
}

// models are the models in service.
type models struct {
	runtime    *onnx.Runtime // nil without onnx backends
	identities *serve.Identities
	logger     *slog.Logger

	mu  sync.Mutex
	all []*opened
	// out are those whose batches in flight have not come back.
	out []*opened
}

// openModels opens the backends of all models. No model server is called yet.
func openModels(c *config.Config, identities *serve.Identities, logger *slog.Logger) (_ *models, err error) {
	m := &models{identities: identities, logger: logger}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	for i := range c.Models {
		s, err := m.open(c.ONNX, &c.Models[i])
		if err != nil {
			return nil, fmt.Errorf("models[%d] (%s): %w", i, c.Models[i].Name, err)
		}
		m.all = append(m.all, s)
	}
	return m, nil
}

// stamp tells when the files that a model's configuration names were written, and how large they are.
func stamp(model *config.Model) string {
	var b strings.Builder
	for _, path := range model.Files() {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprintln(&b, path, info.ModTime().UnixNano(), info.Size())
		}
	}
	return b.String()
}

func (m *models) open(runtime config.ONNX, model *config.Model) (*opened, error) {
	decoder, err := detect.New(model.Detect())
	if err != nil {
		return nil, err
	}
	s := &opened{config: *model, stamp: stamp(model)}
	drivers, instances, err := m.drivers(runtime, model)
	if err != nil {
		return nil, err
	}
	described := backend.Config{
		Name: model.Name, InputName: model.Input.Name, Input: model.Input.Tensor(), Windows: model.Input.Sound(), Outputs: model.Output.Tensors,
		MaxBatch: model.Batch.Max, Accept: decoder.Accept, Logger: m.logger,
	}
	for _, s := range model.State {
		described.States = append(described.States, backend.StatePair(s))
	}
	for _, c := range model.Constants {
		described.Constants = append(described.Constants, backend.Constant(c))
	}
	if s.backend, err = backend.New(described, drivers...); err != nil {
		return nil, errors.Join(err, closeAll(drivers))
	}
	slots := model.Batch.InFlight
	if model.Backend.ONNX == nil && model.Batch.Max == 1 && slots > 2 {
		// The server makes batches of its own: what is there at once runs at once, and does not wait there for what came before.
		instances, slots = instances*slots, 1
	}
	s.model = dispatch.ModelConfig{
		Name: model.Name, Input: model.Input.Form(), Rate: model.Rate, KeyOnly: model.Input.KeyOnly(), Deadline: time.Duration(model.Deadline),
		Result:   decoder.Kind(),
		MaxBatch: model.Batch.Max, Slots: slots, Streams: maxStreams,
		Runner: reply.New(s.backend, instances, decoder, m.logger.With("model", model.Name)),
	}
	return s, nil
}

// drivers opens a model's targets and gives the number of instances behind each.
func (m *models) drivers(runtime config.ONNX, model *config.Model) ([]backend.Driver, int, error) {
	if model.Backend.ONNX != nil {
		drivers, err := m.embedded(runtime, model.Backend.ONNX)
		return drivers, 1, err
	}
	if model.Backend.WebSocket != nil {
		drivers, err := m.bridges(model)
		return drivers, model.Backend.WebSocket.Instances, err
	}
	served := model.Backend.OIP
	identity, err := serverIdentity("backend.oip.tls", served.TLS, m.identities)
	if err != nil {
		return nil, 0, err
	}
	drivers, err := openAll(len(served.Targets), func(i int) (backend.Driver, error) {
		c := oip.Config{Target: served.Targets[i], Model: served.Model, Version: served.Version, Correlate: served.Correlate}
		if identity != nil {
			c.Credentials = identity.ClientCredentials(leastServerTLS, "")
		}
		return oip.Open(c)
	})
	return drivers, served.Instances, err
}

// embedded opens a model in this process, each instance as a target of its own.
func (m *models) embedded(library config.ONNX, model *config.ONNXBackend) ([]backend.Driver, error) {
	if m.runtime == nil {
		runtime, err := onnx.Load(string(library.Library))
		if err != nil {
			return nil, fmt.Errorf("onnx.library: %w", err)
		}
		m.runtime = runtime
		m.logger.Info("loaded the ONNX Runtime", "version", runtime.Version())
	}
	return openAll(model.Instances, func(int) (backend.Driver, error) {
		return m.runtime.Open(onnx.Config{Path: string(model.Path), Threads: model.Threads})
	})
}

// bridges opens a model on servers that speak WebSocket.
func (m *models) bridges(model *config.Model) ([]backend.Driver, error) {
	served := model.Backend.WebSocket
	identity, err := serverIdentity("backend.websocket.tls", served.TLS, m.identities)
	if err != nil {
		return nil, err
	}
	c := websocket.Config{Model: served.Model}
	if identity != nil {
		c.TLS = func() *tls.Config { return identity.Client(leastServerTLS, "") }
	}
	c.Described.Inputs, c.Described.Outputs = model.Described()
	if served.Token != "" {
		c.Token = func() (string, error) {
			text, err := os.ReadFile(string(served.Token))
			return strings.TrimSpace(string(text)), err
		}
	}
	servers := served.Servers()
	return openAll(len(servers), func(i int) (backend.Driver, error) {
		c := c
		c.URL = servers[i]
		return websocket.Open(c)
	})
}

// openAll opens n drivers, or none.
func openAll(n int, open func(i int) (backend.Driver, error)) ([]backend.Driver, error) {
	var drivers []backend.Driver
	for i := range n {
		driver, err := open(i)
		if err != nil {
			return nil, errors.Join(err, closeAll(drivers))
		}
		drivers = append(drivers, driver)
	}
	return drivers, nil
}

// check asks models, all at once, whether they are ready and warms them up. A model that serves something else than is configured is an error; one that is
// not there yet is not, for it may come.
func (m *models) check(ctx context.Context, all []*opened) error {
	errs := make([]error, len(all))
	var checks sync.WaitGroup
	for i, s := range all {
		checks.Go(func() {
			err := s.backend.Check(ctx)
			var mismatch *backend.Mismatch
			switch {
			case errors.As(err, &mismatch):
				errs[i] = err
			case err != nil && ctx.Err() == nil:
				m.logger.Warn("a model is not ready; it is asked again every second", "model", s.model.Name, "error", err)
			}
		})
	}
	checks.Wait()
	return errors.Join(errs...)
}

// list gives the models in service.
func (m *models) list() []*opened {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all
}

// replace puts other models in service. Those that are not among them are out, and closed by release.
func (m *models) replace(all []*opened) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.all {
		if !slices.Contains(all, s) {
			m.out = append(m.out, s)
		}
	}
	m.all = all
}

// release closes the models that are out. No batch is in flight on them.
func (m *models) release() error {
	m.mu.Lock()
	out := m.out
	m.out = nil
	m.mu.Unlock()
	return closeModels(out)
}

// abandon leaves those of the models that are out open for good that have one of these names: batches of theirs never came back and may still use them.
func (m *models) abandon(stuck []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.out = slices.DeleteFunc(m.out, func(s *opened) bool { return slices.Contains(stuck, s.config.Name) })
}

// ready returns nil when any model is: a router with one of two model servers down still serves the other's sessions.
func (m *models) ready() error {
	var errs []error
	for _, s := range m.list() {
		err := s.backend.Available()
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// close frees all models, after the batches in progress.
func (m *models) close() error {
	err := errors.Join(closeModels(m.list()), m.release())
	if m.runtime != nil {
		err = errors.Join(err, m.runtime.Close())
	}
	return err
}

func closeModels(all []*opened) error {
	var errs []error
	for _, s := range all {
		errs = append(errs, s.backend.Close())
	}
	return errors.Join(errs...)
}

func closeAll[T interface{ Close() error }](all []T) error {
	var errs []error
	for _, c := range all {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
