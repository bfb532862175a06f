package config

import (
	"errors"
	"strings"
	"testing"
)

func TestTrace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		trace Trace
		wrong string // part of the error, empty for none
	}{
		{Trace{Sample: DefaultSample}, ""},
		{Trace{Endpoint: "grpc://collector:4317", Sample: 1}, ""},
		{Trace{Endpoint: "grpcs://collector:4317/"}, ""},
		{Trace{Endpoint: "http://127.0.0.1:4318/v1/traces"}, ""},
		{Trace{Endpoint: "https://collector.example/otlp/v1/traces"}, ""},
		{Trace{Sample: -0.1}, "trace.sample: -0.1 is not between 0 and 1"},
		{Trace{Sample: 1.5}, "trace.sample: 1.5"},
		{Trace{Endpoint: "collector:4317"}, "trace.endpoint: \"collector:4317\" is no collector's address"},
		{Trace{Endpoint: "udp://collector:4317"}, "trace.endpoint"},
		{Trace{Endpoint: "grpc://"}, "trace.endpoint"},
		{Trace{Endpoint: "http://user:secret@collector"}, "trace.endpoint"},
		{Trace{Endpoint: "grpc://collector:4317/v1/traces"}, "has a path"},
	} {
		err := c.trace.Validate("trace")
		if c.wrong == "" {
			if err != nil {
				t.Errorf("%+v: %v", c.trace, err)
			}
			continue
		}
		if err == nil || !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%+v: %v, want an error with %q", c.trace, err, c.wrong)
		}
	}
}
