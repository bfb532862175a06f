//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

// ownModel is a part of the page about a user's own model: the example that its folder holds.
type ownModel struct {
	name string
	// serve starts the model server in a network namespace.
	serve func(t *testing.T, namespace string) *stack.Process
	model string
	// red reads from a result's kind how much red the model sees in a red picture, 0 to 1.
	red func(r ownResult) float64
}

// ownResult is a result of one of these models.
type ownResult struct {
	Classes []struct {
		Label string
		Score float64
	}
	JSON []string
}

// TestOwnModel does what deploy/docs/your-own-model.md says, word by word, in network namespaces where the ports that it names are free: a model server, `make run` with its router.yaml, and a
// clip that finds its way to the model.
func TestOwnModel(t *testing.T) {
	t.Parallel()
	examples := documented(t)
	script := map[string]string{} // by the word that only it has
	for _, e := range examples {
		for _, word := range []string{"publish", "triton/router.yaml", "mlserver start", "mlserver/router.yaml", "smallest.py", "websocket/router.yaml"} {
			if strings.Contains(e.Text, word) {
				script[word] = e.Text
			}
		}
	}
	if len(script) != 6 || len(examples) != 6 {
		t.Fatalf("the page's examples are not those that the test knows: %v", examples)
	}
	for _, c := range []ownModel{
		{"triton", serveTriton, "colours", redClass},
		{"mlserver", installed(script["mlserver start"], "mlserver"), "colours", redClass},
		{"websocket", installed(script["smallest.py"], "websocket"), "brightness", brightness},
	} {
		t.Run(c.name, func(t *testing.T) {
			beside(t, 0.6)
			place := host(t, "m")
			server := c.serve(t, place)
			server.Foreign = true
			command := strings.TrimSpace(script[c.name+"/router.yaml"])
			startMakeRun(t, place, strings.TrimPrefix(command, "make run "))
			for line := range strings.Lines(script["publish"]) {
				out := stack.Command(t, place, time.Minute, "bash", "-euo", "pipefail", "-c", "cd "+stack.Root(t)+"\n"+line)
				if strings.Contains(line, "ListModels") && !containsAll(out, `"name": "`+c.model+`"`, `"ready": true`) {
					t.Errorf("%s: %s", line, out)
				}
			}
			c.checkRed(t, place)
		})
	}
}

// serveTriton serves the example's repository by the Triton that PyPI has. It gets a copy, for Triton's Python writes there.
func serveTriton(t *testing.T, namespace string) *stack.Process {
	t.Helper()
	root, repository := stack.Root(t), t.TempDir()
	if err := os.CopyFS(repository, os.DirFS(filepath.Join(root, "deploy", "examples", "own-model", "triton", "models"))); err != nil {
		t.Fatal(err)
	}
	stack.Command(t, "", 10*time.Minute, filepath.Join(root, "deploy", "e2e", "venv.sh"), "triton")
	return stack.Run(t, namespace, filepath.Join(root, "deploy", "e2e", "triton", "start.sh"), repository, "8001", "8000")
}

// installed gives what runs the commands of an example: the first installs packages, which are in an environment of the tests' own, in these versions; the second is the server, and is run in
// a folder where it may write.
func installed(script, environment string) func(t *testing.T, namespace string) *stack.Process {
	return func(t *testing.T, namespace string) *stack.Process {
		t.Helper()
		root := stack.Root(t)
		install, command, _ := strings.Cut(strings.TrimSpace(script), "\n")
		requirements, err := os.ReadFile(filepath.Join(root, "deploy", "e2e", environment, "requirements.txt"))
		if err != nil {
			t.Fatal(err)
		}
		for _, version := range strings.Fields(strings.TrimPrefix(install, "pip install ")) {
			if !strings.Contains("\n"+string(requirements), "\n"+version) {
				t.Errorf("the page has %s installed, which the tests do not have", version)
			}
		}
		folder := strings.TrimSpace(stack.Command(t, "", 10*time.Minute, filepath.Join(root, "deploy", "e2e", "venv.sh"), environment))
		work := t.TempDir()
		if err := os.Symlink(filepath.Join(root, "deploy"), filepath.Join(work, "deploy")); err != nil {
			t.Fatal(err)
		}
		return stack.Run(t, namespace, "env", "-C", work, "PYTHONDONTWRITEBYTECODE=1", "PATH="+filepath.Join(folder, "bin")+":"+os.Getenv("PATH"),
			"bash", "-c", "exec "+command)
	}
}

// checkRed publishes a red picture, of which the model must say that it is red.
func (c *ownModel) checkRed(t *testing.T, namespace string) {
	t.Helper()
	folder := t.TempDir()
	clip, outcomes := filepath.Join(folder, "red.ivf"), filepath.Join(folder, "outcomes.ndjson")
	stack.Command(t, "", time.Minute, "ffmpeg", "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "color=red:size=320x240:rate=30:duration=3", "-c:v", "libvpx", "-g", "30", clip)
	stack.Command(t, namespace, time.Minute, stack.Binary(t, "sluicectl"), "publish", clip, "--duration", "4s", "--model", c.model, "--outcomes", outcomes)
	text, err := os.ReadFile(outcomes)
	if err != nil {
		t.Fatal(err)
	}
	lines := stack.Lines[struct{ Outcome struct{ Result *ownResult } }](t, string(text))
	results, least := 0, 1.0
	for _, l := range lines {
		if l.Outcome.Result != nil {
			results++
			least = min(least, c.red(*l.Outcome.Result))
		}
	}
	t.Logf("%d results of %d outcomes; of the red picture the models says %.3f at least", results, len(lines), least)
	if results < 20 || least < 0.3 {
		t.Errorf("%d results, %.3f: want 20 of a red picture", results, least)
	}
}

// redClass gives the part of red, if it is the greatest and they make a whole.
func redClass(r ownResult) float64 {
	total := 0.0
	for _, class := range r.Classes {
		total += class.Score
	}
	if len(r.Classes) != 3 || r.Classes[0].Label != "red" || total < 0.99 || total > 1.01 {
		return 0
	}
	return r.Classes[0].Score
}

// brightness gives what the model says, for in a red picture one channel of three is bright.
func brightness(r ownResult) float64 {
	var answer struct{ Brightness float64 }
	if len(r.JSON) != 1 || json.Unmarshal([]byte(r.JSON[0]), &answer) != nil {
		return 0
	}
	return answer.Brightness
}
