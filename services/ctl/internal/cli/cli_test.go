package cli

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluice-dev/sluice/services/ctl/internal/edgetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs sluicectl with a command line and gives what it wrote.
func run(t *testing.T, arguments ...string) (out, screen string, err error) {
	t.Helper()
	var o, s bytes.Buffer
	command := Command(&o, &s)
	command.SetArgs(arguments)
	err = command.ExecuteContext(t.Context())
	return o.String(), s.String(), err
}

// clipFile writes an IVF file of three VP8 frames, 100 a second.
func clipFile(t *testing.T) string {
	t.Helper()
	b := binary.LittleEndian.AppendUint16([]byte("DKIF\x00\x00"), 32)
	b = append(b, "VP80"...)
	b = append(b, 64, 0, 64, 0)
	for _, n := range []uint32{100, 1, 3, 0} { // ticks a second, as numerator and denominator; frames; nothing
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	for tick := range uint64(3) {
		b = binary.LittleEndian.AppendUint32(b, 5)
		b = append(binary.LittleEndian.AppendUint64(b, tick), "frame"...)
	}
	file := filepath.Join(t.TempDir(), "clip.ivf")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// closedPort gives an address at which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// TestRefusals gives each wrong command line; the answer says which word is wrong or what to do.
func TestRefusals(t *testing.T) {
	clip, nobody := clipFile(t), closedPort(t)
	noise := filepath.Join(t.TempDir(), "noise.ivf")
	if err := os.WriteFile(noise, []byte("DKIF but nothing else"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		arguments []string
		want      string
	}{
		"unknown command":      {[]string{"publsh"}, `unknown command "publsh"`},
		"unknown flag":         {[]string{"publish", clip, "--stream", "2"}, "--stream"},
		"no file":              {[]string{"publish"}, "at least 1 arg"},
		"missing file":         {[]string{"publish", "/nowhere.ivf"}, "/nowhere.ivf"},
		"broken file":          {[]string{"publish", noise}, noise},
		"no streams":           {[]string{"publish", clip, "--streams", "0"}, "--streams must be 1 to 1000"},
		"too many streams":     {[]string{"publish", clip, "--streams", "1001"}, "--streams must be 1 to 1000"},
		"negative rate":        {[]string{"publish", clip, "--rate", "-1"}, "--rate 0 to 240"},
		"rate too high":        {[]string{"publish", clip, "--rate", "241"}, "--rate 0 to 240"},
		"rate that is none":    {[]string{"publish", clip, "--rate", "NaN"}, "--rate 0 to 240"},
		"no duration":          {[]string{"publish", clip, "--duration", "0s"}, "--duration positive"},
		"duration in words":    {[]string{"publish", clip, "--duration", "long"}, "--duration"},
		"loss without percent": {[]string{"publish", clip, "--loss", "0.05"}, `--loss: "0.05" is no percentage`},
		"more loss than all":   {[]string{"publish", clip, "--loss", "101%"}, "--loss"},
		"loss of NaN":          {[]string{"publish", clip, "--loss", "NaN%"}, "--loss"},
		"edge without scheme":  {[]string{"publish", clip, "--edge", "127.0.0.1:8080"}, "write http://127.0.0.1:8080"},
		"nobody there":         {[]string{"publish", clip, "--edge", "http://" + nobody}, "is it running?"},
		"summary to nowhere":   {[]string{"publish", clip, "--edge", "http://" + nobody, "--json", "/nowhere/summary"}, "--json: open /nowhere/summary"},
		"outcomes to nowhere":  {[]string{"publish", clip, "--edge", "http://" + nobody, "--outcomes", "/nowhere/lines"}, "--outcomes: open /nowhere/lines"},
		"watch two places":     {[]string{"watch", "a", "b"}, "at most 1 arg"},
		"watch nobody":         {[]string{"watch", nobody}, "is the service running"},
		"limit below nothing":  {[]string{"watch", nobody, "--limit", "-1"}, "--limit"},
		"a word too many":      {[]string{"watch", nobody, "--json=maybe"}, "--json"},
		"a rate that is words": {[]string{"publish", clip, "--rate", "fast"}, "--rate"},
	} {
		t.Run(name, func(t *testing.T) {
			out, _, err := run(t, c.arguments...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want it to say %q", err, c.want)
			}
			if out != "" {
				t.Errorf("a refused command wrote to standard output: %s", out)
			}
		})
	}
}

// summary is what scripts read, as far as the tests look at it.
type summary struct {
	Streams []struct {
		Session, Failure        string
		Sent, Outcomes, Results uint32
		Latency                 struct{ P50 float64 }
		Summary                 json.RawMessage
	}
}

// TestPublishToStandardOutput publishes two streams: standard output is the JSON summary and nothing else, the table is for the eyes.
func TestPublishToStandardOutput(t *testing.T) {
	e := edgetest.Start(t, edgetest.Options{Token: "sesame"})
	t.Setenv("SLUICE_TOKEN", "sesame")
	lines := filepath.Join(t.TempDir(), "lines")
	out, screen, err := run(t, "publish", clipFile(t), "--edge", e.URL, "--streams", "2", "--duration", "200ms", "--json", "-", "--outcomes", lines, "--model", "faces")
	if err != nil {
		t.Fatal(err)
	}
	var s summary
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(s.Streams) != 2 {
		t.Fatalf("%d streams, want 2: %s", len(s.Streams), out)
	}
	total := 0
	for _, stream := range s.Streams {
		if stream.Sent != 20 || stream.Results == 0 || stream.Session == "" || stream.Failure != "" || stream.Summary == nil || !(stream.Latency.P50 > 0) {
			t.Errorf("stream %+v: want 20 sent, results, a session, latencies and the edge's summary", stream)
		}
		if !strings.Contains(screen, stream.Session) {
			t.Errorf("session %q is not in the table:\n%s", stream.Session, screen)
		}
		total += int(stream.Outcomes)
	}
	if strings.Count(screen, "not sampled")+strings.Count(screen, "NOT SAMPLED") != 1 {
		t.Errorf("a screen that is no terminal shows one table at the end:\n%s", screen)
	}
	written, err := os.ReadFile(lines)
	if err != nil || bytes.Count(written, []byte("\n")) != total {
		t.Errorf("%d lines of outcomes, want %d (%v)", bytes.Count(written, []byte("\n")), total, err)
	}
	if got := e.Models(); len(got) != 1 || got[0] != "faces" {
		t.Errorf("asked for models %q", got)
	}
}

// TestPublishToFile writes the summary to a file, also of a publication that failed, and nothing to standard output.
func TestPublishToFile(t *testing.T) {
	e := edgetest.Start(t, edgetest.Options{Token: "sesame"})
	for token, want := range map[string]string{"sesame": "", "wrong": "401 UNAUTHORIZED: send a token"} {
		file := filepath.Join(t.TempDir(), "summary.json")
		out, _, err := run(t, "publish", clipFile(t), "--edge", e.URL, "--duration", "100ms", "--json", file, "--token", token)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("error %v, want %q", err, want)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var s summary
		if err := json.Unmarshal(text, &s); err != nil || len(s.Streams) != 1 || !strings.Contains(s.Streams[0].Failure, want) || (want == "") != (s.Streams[0].Failure == "") {
			t.Errorf("%v: %s, want failure %q", err, text, want)
		}
		if out != "" {
			t.Errorf("standard output: %s", out)
		}
	}
}

// TestHelpHidesTheToken looks for a token of the environment in what people paste into bug reports.
func TestHelpHidesTheToken(t *testing.T) {
	t.Setenv("SLUICE_TOKEN", "open-sesame-123")
	out, screen, err := run(t, "publish", "--help")
	if err != nil || !strings.Contains(out, "--streams") || !strings.Contains(out, "$SLUICE_TOKEN") {
		t.Errorf("help %q, error %v", out, err)
	}
	if strings.Contains(out+screen, "open-sesame") {
		t.Error("the help shows the token")
	}
}
