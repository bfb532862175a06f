package config

import (
	"fmt"
	"net/url"
	"slices"
)

// Trace says where OpenTelemetry traces of single units go, and of how many.
type Trace struct {
	Endpoint string  `yaml:"endpoint" help:"collector of OpenTelemetry traces (OTLP): grpc://host:4317, http://host:4318/v1/traces, grpcs and https with TLS; empty: no traces"`
	Sample   float64 `yaml:"sample" help:"share of units that is traced, from 0 to 1, unless an edge decided already"`
}

// DefaultSample is a unit in a thousand: of a camera with 15 pictures a second one a minute.
const DefaultSample = 0.001

// Validate tells what is wrong with the section whose key is given. The error wraps ErrInvalid.
func (t Trace) Validate(key string) error {
	if !(t.Sample >= 0 && t.Sample <= 1) {
		return fmt.Errorf("%w: %s.sample: %g is not between 0 and 1", ErrInvalid, key, t.Sample)
	}
	if t.Endpoint == "" {
		return nil
	}
	u, err := url.Parse(t.Endpoint)
	if err != nil || !slices.Contains([]string{"grpc", "grpcs", "http", "https"}, u.Scheme) || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%w: %s.endpoint: %q is no collector's address: write grpc://host:4317 or http://host:4318/v1/traces, with TLS grpcs or https", ErrInvalid, key, t.Endpoint)
	}
	if (u.Scheme == "grpc" || u.Scheme == "grpcs") && u.Path != "" && u.Path != "/" {
		return fmt.Errorf("%w: %s.endpoint: %q has a path, which only http and https have", ErrInvalid, key, t.Endpoint)
	}
	return nil
}
