package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

type sample struct {
	Listen string `yaml:"listen" help:"where to listen"`
	HTTP   struct {
		TLS struct {
			Cert Path `yaml:"cert"`
		} `yaml:"tls"`
		Origins []string `yaml:"origins"`
	} `yaml:"http"`
	Limits struct {
		Sessions int     `yaml:"sessions"`
		Bitrate  Bitrate `yaml:"bitrate"`
		Pixels   Pixels  `yaml:"pixels"`
		Message  Bytes   `yaml:"message"`
	} `yaml:"limits"`
	Models []struct {
		Name     string   `yaml:"name"`
		Deadline Duration `yaml:"deadline"`
		Backend  struct {
			ONNX *struct {
				Path Path `yaml:"path"`
			} `yaml:"onnx"`
		} `yaml:"backend"`
		Mean []float64 `yaml:"mean"`
	} `yaml:"models"`
	Decoder struct {
		Path Program `yaml:"path"`
	} `yaml:"decoder"`
	Loopback bool `yaml:"loopback"`
}

const sampleText = `
listen: 127.0.0.1:1
http: {tls: {cert: tls/cert.pem}, origins: ["https://a.example"]}
limits: {sessions: 3, bitrate: 8Mbps, pixels: 1920x1088, message: 4MiB}
models:
  - name: faces
    deadline: 250ms
    backend: {onnx: {path: models/faces.onnx}}
    mean: [0, 0.5, 1]
decoder: {path: sluice-decoder}
`

func load(t *testing.T, text string, environ []string, args ...string) (sample, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sample.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var s sample
	s.Listen, s.Limits.Sessions = "default:1", 200
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	Bind(flags, &s)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	err := Load(flags, file, environ, &s)
	s.HTTP.TLS.Cert = Path(strings.ReplaceAll(string(s.HTTP.TLS.Cert), filepath.Dir(file), "DIR"))
	for _, m := range s.Models {
		if m.Backend.ONNX != nil {
			m.Backend.ONNX.Path = Path(strings.ReplaceAll(string(m.Backend.ONNX.Path), filepath.Dir(file), "DIR"))
		}
	}
	return s, err
}

func TestLoad(t *testing.T) {
	t.Parallel()
	s, err := load(t, sampleText, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := s.Models[0]
	if s.Listen != "127.0.0.1:1" || s.HTTP.TLS.Cert != "DIR/tls/cert.pem" || s.Limits.Bitrate != 8e6 || s.Limits.Message != 4<<20 ||
		s.Limits.Pixels != (Pixels{1920, 1088}) || m.Deadline != Duration(250*time.Millisecond) || m.Backend.ONNX.Path != "DIR/models/faces.onnx" ||
		!reflect.DeepEqual(m.Mean, []float64{0, 0.5, 1}) || s.Decoder.Path != "sluice-decoder" || s.HTTP.Origins[0] != "https://a.example" {
		t.Errorf("loaded %+v", s)
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	env := []string{"SLUICE_LISTEN=env:1", "SLUICE_LIMITS_SESSIONS=7", "SLUICE_HTTP_ORIGINS=https://b.example, https://c.example", "PATH=/bin"}
	s, err := load(t, "listen: file:1\nlimits: {bitrate: 1Mbps}", env, "--listen", "flag:1", "--loopback", "--http.tls.cert", "here.pem")
	if err != nil {
		t.Fatal(err)
	}
	if s.Listen != "flag:1" || s.Limits.Sessions != 7 || s.Limits.Bitrate != 1e6 || !s.Loopback || s.HTTP.TLS.Cert != "here.pem" ||
		!reflect.DeepEqual(s.HTTP.Origins, []string{"https://b.example", "https://c.example"}) {
		t.Errorf("loaded %+v", s)
	}
	if s, err = load(t, "", nil); err != nil || s.Listen != "default:1" || s.Limits.Sessions != 200 {
		t.Errorf("an empty file gave %+v, %v", s, err)
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		env        []string
		args       []string
		want       []string
	}{
		{"unknown key", "listen: a\nlisen: b", nil, nil, []string{":2:", `"lisen"`, `did you mean "listen"?`}},
		{"unknown nested key", "models:\n  - name: a\n    deadlin: 1s", nil, nil, []string{":3:", "in models[0]", `"deadline"`}},
		{"nothing near", "limits:\n  zzzzzzzz: 1", nil, nil, []string{"known keys: bitrate, message"}},
		{"two unknown keys", "lisen: a\nmodls: []", nil, nil, []string{`"lisen"`, `"modls"`}},
		{"bad duration", "models: [{deadline: soon}]", nil, nil, []string{"soon"}},
		{"bad number", "limits: {sessions: many}", nil, nil, []string{"many"}},
		{"duplicate key", "listen: a\nlisten: b", nil, nil, []string{"listen"}},
		{"not YAML", "listen: [", nil, nil, []string{"sample.yaml"}},
		{"not a mapping", "- a\n- b", nil, nil, []string{"keys and values"}},
		{"two documents", "listen: a\n---\nlisten: b", nil, nil, []string{"2 YAML documents"}},
		{"bad variable", "", []string{"SLUICE_LIMITS_PIXELS=big"}, nil, []string{`SLUICE_LIMITS_PIXELS="big"`, "1920x1088"}},
		{"bad flag", "", nil, []string{"--limits.bitrate", "fast"}, []string{`--limits.bitrate "fast"`, "8Mbps"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, c.text, c.env, c.args...)
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("error %v, want ErrInvalid", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
		})
	}
	var s sample
	if err := Load(pflag.NewFlagSet("", 0), "/nowhere/edge.yaml", nil, &s); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "/nowhere/edge.yaml") {
		t.Errorf("missing file: %v", err)
	}
}

func TestTypesThereAndBack(t *testing.T) {
	t.Parallel()
	type text interface {
		UnmarshalText([]byte) error
		MarshalText() ([]byte, error)
	}
	for in, v := range map[string]text{
		"8Mbps": new(Bitrate), "500kbps": new(Bitrate), "64001": new(Bitrate), "4MiB": new(Bytes), "1000": new(Bytes), "0": new(Bytes),
		"250ms": new(Duration), "1920x1088": new(Pixels),
	} {
		if err := v.UnmarshalText([]byte(in)); err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if out, err := v.MarshalText(); err != nil || string(out) != in {
			t.Errorf("%s came back as %s, %v", in, out, err)
		}
	}
	for in, v := range map[string]text{"-1Mbps": new(Bitrate), "NaN": new(Bitrate), "-5s": new(Duration), "0x5": new(Pixels), "5x99999": new(Pixels), "5 parsecs": new(Bytes)} {
		if err := v.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q was taken", in)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(sampleText))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("? {}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s sample
		if err := Decode("fuzz.yaml", data, &s); err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("error %v is no ErrInvalid", err)
		}
	})
}
