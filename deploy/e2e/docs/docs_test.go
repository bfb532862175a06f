package docs

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/deploy/e2e/stack"
)

func TestParse(t *testing.T) {
	const page = "Words.\n\n<!-- run by TestOne, make lint -->\n```sh\nmake run\n```\n\n    indented\n\n<!-- not run: it takes an hour -->\n```yaml\na: 1\nb: 2\n```\n\n" +
		"```text\na drawing\n```\n\n- a list\n\n  <!-- run by TestTwo -->\n  ```js\n  x\n  ```\n"
	got, err := parse("p.md", []byte(page))
	if err != nil {
		t.Fatal(err)
	}
	want := []Example{
		{Page: "p.md", Line: 5, Language: "sh", Text: "make run\n", Tests: []string{"TestOne", "make lint"}},
		{Page: "p.md", Line: 8, Text: "indented\n"},
		{Page: "p.md", Line: 12, Language: "yaml", Text: "a: 1\nb: 2\n", NotRun: "it takes an hour"},
		{Page: "p.md", Line: 24, Language: "js", Text: "x\n", Tests: []string{"TestTwo"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v\nwant %#v", got, want)
	}
	if _, err := parse("p.md", []byte("<!-- run TestOne -->\n```sh\nmake\n```\n")); err == nil || !strings.Contains(err.Error(), "p.md:3") {
		t.Errorf("a comment that says nothing: %v", err)
	}
}

// TestEveryExampleIsRun looks at all examples in all pages: each names its language, and a test that exists and that .ci/run runs, or a reason why none runs it.
func TestEveryExampleIsRun(t *testing.T) {
	root := stack.Root(t)
	known := tests(t, root)
	pages, err := Pages(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) < 5 {
		t.Fatalf("only %d pages: %v", len(pages), pages)
	}
	for _, page := range pages {
		examples, err := Read(root, page)
		if err != nil {
			t.Error(err)
		}
		for _, e := range examples {
			switch {
			case e.Language == "":
				t.Errorf("%s: an example that names no language; what is none is in the language text:\n%s", e, e.Text)
			case len(e.Tests) == 0 && e.NotRun == "":
				t.Errorf("%s: no comment before it says which test runs this example (or why none does); see deploy/e2e/docs:\n%s", e, e.Text)
			}
			for _, name := range e.Tests {
				if !known[name] {
					t.Errorf("%s: there is no %s, which is said to run this example", e, name)
				}
			}
		}
	}
}

// TestNamedTestsExist looks at the words of the pages: a test that one names as holding a promise exists.
func TestNamedTestsExist(t *testing.T) {
	root := stack.Root(t)
	known := tests(t, root)
	pages, err := Pages(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range testName.FindAllString(string(text), -1) {
			begins := func(test string) bool { return strings.HasPrefix(test, name) } // -run takes the beginning of a name
			if !slices.ContainsFunc(slices.Collect(maps.Keys(known)), begins) {
				t.Errorf("%s names %s, which does not exist", page, name)
			}
		}
	}
}

// TestDocumentedJSON parses the examples of messages: each is one JSON value, or one after the other.
func TestDocumentedJSON(t *testing.T) {
	examples, err := By(stack.Root(t), t.Name())
	if err != nil || len(examples) == 0 {
		t.Fatalf("%d examples: %v", len(examples), err)
	}
	for _, e := range examples {
		var value map[string]any
		decoder := json.NewDecoder(strings.NewReader(e.Text))
		for err = decoder.Decode(&value); err == nil; err = decoder.Decode(&value) {
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", e, err)
		}
	}
}

var (
	goTest   = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	testName = regexp.MustCompile(`\bTest[A-Z]\w+\b`)
	step     = regexp.MustCompile(`(?m)^step (\S+)`)
)

// tests gives the names of all that may run an example.
func tests(t *testing.T, root string) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	find := func(file string, names *regexp.Regexp, prefix string) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range names.FindAllSubmatch(text, -1) {
			known[prefix+string(m[1])] = true
		}
	}
	find(filepath.Join(root, ".ci", "run"), step, "make ")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && skipped.MatchString(d.Name()):
			return fs.SkipDir
		case strings.HasSuffix(path, "_test.go"):
			find(path, goTest, "")
		case strings.HasSuffix(path, ".test.mjs"):
			known[d.Name()] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return known
}
