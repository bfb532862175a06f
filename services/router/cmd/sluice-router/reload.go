package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-dev/sluice/pkg/serve"
	"github.com/sluice-dev/sluice/services/router/internal/config"
	"github.com/sluice-dev/sluice/services/router/internal/dispatch"
)

// reloads say how the configuration is read again, and when.
type reloads struct {
	// load gives the configuration as it is now, checked.
	load func() (*config.Config, error)
	// hangups holds a value when it is to be read. A nil channel never does.
	hangups <-chan os.Signal
	// file is also looked at every so often, if that is not zero, and read when it is another than seen.
	file  string
	every time.Duration
	seen  serve.Watched
}

// follow puts a value into wanted, which holds one, with each hangup and each change of the file, until ctx ends.
func (r *reloads) follow(ctx context.Context, wanted chan<- struct{}, logger *slog.Logger) {
	var look <-chan time.Time
	if r.every > 0 {
		tick := time.NewTicker(r.every)
		defer tick.Stop()
		look = tick.C
	}
	gone := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.hangups:
		case <-look:
			changed, err := r.seen.Changed(r.file)
			if err != nil && !gone {
				logger.Warn("the configuration file cannot be looked at; all stays as it is", "error", err)
			}
			gone = err != nil
			if !changed {
				continue
			}
		}
		select {
		case wanted <- struct{}{}:
		default:
		}
	}
}

const (
	// checkAgain is the time between two looks at whether a changed model's server has come up.
	checkAgain = time.Second

	// What becomes of a reload, as the metric says it.
	reloadApplied    = "applied"
	reloadRefused    = "refused"
	reloadSuperseded = "superseded"
)

func newReloaded(registry prometheus.Registerer) (*prometheus.CounterVec, error) {
	reloaded := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_router_config_reloads_total",
		Help: "Times that the configuration was read again, after SIGHUP or a change of the file. result is applied, refused, with everything as before, or superseded by a later one " +
			"while a changed model's server was waited for.",
	}, []string{"result"})
	for _, result := range []string{reloadApplied, reloadRefused, reloadSuperseded} {
		reloaded.WithLabelValues(result)
	}
	if err := registry.Register(reloaded); err != nil {
		return nil, fmt.Errorf("register the metric of reloads: %w", err)
	}
	return reloaded, nil
}

// tend keeps the models' readiness current and reads the configuration again when that is wanted, until ctx ends.
func (r *router) tend(ctx context.Context) {
	var watches sync.WaitGroup
	defer watches.Wait()
	wanted := make(chan struct{}, 1)
	watches.Go(func() { r.again.follow(ctx, wanted, r.logger) })
	type watch struct {
		end   context.CancelFunc
		ended chan struct{}
	}
	watched := map[*opened]watch{}
	defer func() {
		for _, w := range watched {
			w.end()
		}
	}()
	for {
		inService := r.models.list()
		for _, s := range inService {
			if _, already := watched[s]; already {
				continue
			}
			watching, end := context.WithCancel(ctx)
			w := watch{end, make(chan struct{})}
			watched[s] = w
			watches.Go(func() {
				defer close(w.ended)
				s.backend.Watch(watching)
			})
		}
		for s, w := range watched {
			if !slices.Contains(inService, s) {
				w.end()
				<-w.ended
				delete(watched, s)
			}
		}
		if ctx.Err() != nil {
			return // What is out may have batches in flight: it is closed with all others.
		}
		if err := r.models.release(); err != nil {
			r.logger.Warn("a model that was taken out could not be closed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-wanted:
		}
		for r.reload(ctx, wanted) {
			r.reloaded.WithLabelValues(reloadSuperseded).Inc()
		}
	}
}

// reload reads the configuration and puts its models in service; where that is not possible, everything stays as it is. It returns true when it was wanted again before it
// was done.
func (r *router) reload(ctx context.Context, wanted <-chan struct{}) (superseded bool) {
	refuse := func(err error) bool {
		r.reloaded.WithLabelValues(reloadRefused).Inc()
		r.logger.Error("the configuration is refused, and the models stay as they are", "error", err)
		return false
	}
	next, err := r.again.load()
	if err != nil {
		return refuse(err)
	}
	plan, err := r.plan(next) //nolint:contextcheck // connections to model servers end when the model is closed
	if err != nil {
		return refuse(err)
	}
	superseded, err = r.await(ctx, plan, wanted)
	if err == nil && !superseded && ctx.Err() == nil {
		err = r.apply(ctx, plan)
		if err == nil {
			return false
		}
	}
	err = errors.Join(err, closeModels(plan.fresh))
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		return refuse(err)
	}
	return superseded
}

// plan is what a new configuration makes of the models.
type plan struct {
	all   []*opened // in the order of the configuration
	fresh []*opened // of all: those that are not in service yet
	// changed are those of fresh that take the place of a model in service.
	changed                      []*opened
	added, replacements, removed []string
}

// plan opens the models that a configuration adds or changes.
func (r *router) plan(next *config.Config) (_ *plan, err error) {
	p := &plan{}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeModels(p.fresh))
		}
	}()
	if r.models.runtime == nil {
		r.config.ONNX = next.ONNX // It is not in use yet.
	}
	if keys := unapplied(r.config, next); len(keys) > 0 {
		r.logger.Warn("only models change while the router runs; other keys have changed too, which takes a restart", "keys", keys)
	}
	before := r.models.list()
	for i := range next.Models {
		m := &next.Models[i]
		at := slices.IndexFunc(before, func(s *opened) bool { return s.config.Name == m.Name })
		if at >= 0 && reflect.DeepEqual(before[at].config, *m) && before[at].stamp == stamp(m) {
			p.all = append(p.all, before[at])
			continue
		}
		key := fmt.Sprintf("models[%d] (%s)", i, m.Name)
		form := m.Input.Form()
		if need := form.Bytes() + envelope; need > r.largest {
			return nil, fmt.Errorf("%s.input: its frames are larger than the %d bytes that the listener has taken since the start: restart the router", key, r.largest-envelope)
		}
		s, err := r.models.open(r.config.ONNX, m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		p.all, p.fresh = append(p.all, s), append(p.fresh, s)
		if at >= 0 {
			p.changed, p.replacements = append(p.changed, s), append(p.replacements, m.Name)
		} else {
			p.added = append(p.added, m.Name)
		}
	}
	for _, s := range before {
		if !slices.ContainsFunc(p.all, func(other *opened) bool { return other.config.Name == s.config.Name }) {
			p.removed = append(p.removed, s.config.Name)
		}
	}
	return p, nil
}

// unapplied names the keys, models apart, in which two configurations differ.
func unapplied(a, b *config.Config) (keys []string) {
	left, right := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for i := range left.NumField() {
		key := left.Type().Field(i).Tag.Get("yaml")
		if key != "models" && !reflect.DeepEqual(left.Field(i).Interface(), right.Field(i).Interface()) {
			keys = append(keys, key)
		}
	}
	return keys
}

// await checks the new models until each that takes another's place is ready: so long the other one serves. New names do not have to be ready, as at the start. A model that
// serves something else than is configured is an error.
func (r *router) await(ctx context.Context, p *plan, wanted <-chan struct{}) (superseded bool, err error) {
	for told := false; ; {
		bounded, cancel := context.WithTimeout(ctx, firstCheck)
		err := r.models.check(bounded, p.fresh)
		cancel()
		waits := slices.ContainsFunc(p.changed, func(s *opened) bool { return s.backend.Available() != nil })
		if err != nil || !waits || ctx.Err() != nil {
			return false, err
		}
		if !told {
			told = true
			r.logger.Warn("a changed model is not ready; all models stay as they are until it is", "changed", p.replacements)
		}
		again := time.NewTimer(checkAgain)
		select {
		case <-ctx.Done():
		case <-wanted:
			superseded = true
		case <-again.C:
		}
		again.Stop()
		if superseded {
			return true, nil
		}
	}
}

// apply puts the planned models in service, tells the sessions, and waits until what is in flight on the others has ended.
func (r *router) apply(ctx context.Context, p *plan) error {
	retired, err := r.dispatcher.Replace(ctx, configs(p.all))
	if err != nil {
		return err
	}
	r.models.replace(p.all)
	r.intake.Refit()
	r.reloaded.WithLabelValues(reloadApplied).Inc()
	r.logger.Info("the configuration was read again", "added", p.added, "changed", p.replacements, "removed", p.removed, "models", names(p.all))
	if stuck, err := retired.Wait(ctx); err != nil && ctx.Err() == nil {
		r.models.abandon(stuck)
		r.logger.Error("batches never came back from models that were taken out, which stay open", "models", stuck, "error", err)
	}
	return nil
}

func configs(all []*opened) []dispatch.ModelConfig {
	list := make([]dispatch.ModelConfig, len(all))
	for i, s := range all {
		list[i] = s.model
	}
	return list
}

func names(all []*opened) []string {
	list := make([]string, len(all))
	for i, s := range all {
		list[i] = s.config.Name
	}
	return list
}
