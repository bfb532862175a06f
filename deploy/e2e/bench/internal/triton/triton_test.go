package triton

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBatching(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, c := range []struct {
		batching     Batching
		text, config string
	}{
		{Batching{Max: 32}, "no batcher", ""},
		{Batching{Dynamic: true, Max: 32}, "dynamic_batching {}, at most 32", "dynamic_batching { }"},
		{
			Batching{Dynamic: true, Max: 16, Delay: 40 * ms}, "delay 40ms, timeout 0s, at most 16",
			"dynamic_batching { max_queue_delay_microseconds: 40000 }",
		},
		{
			Batching{Dynamic: true, Max: 32, Timeout: 160 * ms}, "delay 0s, timeout 160ms, at most 32",
			"dynamic_batching { max_queue_delay_microseconds: 0 default_queue_policy { timeout_action: REJECT default_timeout_microseconds: 160000 } }",
		},
	} {
		if got := c.batching.String(); got != c.text {
			t.Errorf("%+v reads %q, want %q", c.batching, got, c.text)
		}
		lines := strings.Split(strings.TrimSpace(c.batching.config(64)), "\n")
		if got := lines[len(lines)-1]; c.config != "" && got != c.config {
			t.Errorf("%s: configured as %q, want %q", c.batching, got, c.config)
		}
		if c.config == "" && strings.Contains(c.batching.config(64), "dynamic_batching") {
			t.Errorf("%s: is batched", c.batching)
		}
	}
}

func TestAdd(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "model.py")
	if err := os.WriteFile(program, []byte("pass\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	model := filepath.Join(t.TempDir(), "model")
	if err := add(model, program, Batching{Max: 1}.config(64)); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"1/model.py": "pass\n", "config.pbtxt": "max_batch_size: 1\n"} {
		if text, err := os.ReadFile(filepath.Join(model, file)); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s holds %q, %v; want %q", file, text, err, want)
		}
	}
	if err := add(model, program, ""); err == nil {
		t.Error("a model can be added twice")
	}
}
