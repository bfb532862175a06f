package front

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The package comment is the index of codes: it lists every one that this package or a session can give.
func TestEveryCodeIsListed(t *testing.T) {
	t.Parallel()
	index, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`Code += "([A-Z_]+)"`)
	for _, source := range []string{"problem.go", "../session/refusal.go"} {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		codes := declared.FindAllSubmatch(text, -1)
		if len(codes) == 0 {
			t.Errorf("%s declares no codes; does this test still look for the right thing?", source)
		}
		for _, code := range codes {
			if !strings.Contains(string(index), "//\t"+string(code[1])+" ") {
				t.Errorf("%s of %s is not in the index", code[1], source)
			}
		}
	}
}
