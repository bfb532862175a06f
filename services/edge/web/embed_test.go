package web_test

import (
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-dev/sluice/services/edge/web"
)

// references finds what a file of the page makes a browser load, by the file's kind.
var references = map[string]*regexp.Regexp{
	".html": regexp.MustCompile(`(?:src|href)="([^"#][^"]*)"`),
	".css":  regexp.MustCompile(`(?:url\(|@import )["']?([^"')]+)`),
	".js":   regexp.MustCompile(`(?m)^(?:import|export) [^;]*?from "([^"]+)"`),
}

// TestFSHoldsEverythingItRefersTo follows the references from both pages: each must be embedded, and nothing may come from elsewhere.
func TestFSHoldsEverythingItRefersTo(t *testing.T) {
	files := web.FS()
	seen := map[string]bool{}
	waiting := []string{"index.html", "watch.html"}
	for len(waiting) > 0 {
		name := waiting[0]
		waiting = waiting[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		content, err := fs.ReadFile(files, name)
		if err != nil {
			t.Errorf("referred to, but not embedded: %v", err)
			continue
		}
		kind := references[path.Ext(name)]
		if kind == nil {
			continue
		}
		for _, match := range kind.FindAllStringSubmatch(string(content), -1) {
			target := match[1]
			if strings.Contains(target, "//") || strings.HasPrefix(target, "/") {
				t.Errorf("%s refers to %s; the page must be served whole from below any path of its own origin", name, target)
				continue
			}
			waiting = append(waiting, path.Join(path.Dir(name), target))
		}
	}
	for _, want := range []string{"page/main.js", "page/watch.js", "page/style.css", "sdk/sluice.js", "icon.svg"} {
		if !seen[want] {
			t.Errorf("the pages do not lead to %s: the references are not followed as they should be", want)
		}
	}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !seen[name] && name != "sdk/sluice.d.ts" {
			t.Errorf("%s is embedded, but nothing leads to it", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFSHoldsWhatIsServedOnly(t *testing.T) {
	for _, name := range []string{"index.html", "watch.html", "sdk/sluice.js", "sdk/sluice.d.ts"} {
		if _, err := fs.Stat(web.FS(), name); err != nil {
			t.Errorf("the contract names it: %v", err)
		}
	}
	err := fs.WalkDir(web.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if strings.Contains(name, "test") || strings.HasSuffix(name, ".go") || path.Base(name) == "package.json" {
			t.Errorf("%s is embedded; it is not for browsers", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPageKeepsItsContentSecurityPolicy looks for what the policy would refuse: inline scripts, styles and handlers.
func TestPageKeepsItsContentSecurityPolicy(t *testing.T) {
	for what, pattern := range map[string]string{
		"an inline script":     `<script(?:\s[^>]*)?>\s*[^<\s]`,
		"a style element":      `<style`,
		"a style attribute":    `\sstyle=`,
		"an inline handler":    `\son[a-z]+=`,
		"a javascript address": `javascript:`,
	} {
		for _, name := range []string{"index.html", "watch.html"} {
			page, err := fs.ReadFile(web.FS(), name)
			if err != nil {
				t.Fatal(err)
			}
			if found := regexp.MustCompile(pattern).Find(page); found != nil {
				t.Errorf("%s has %s, which the policy refuses: %q", name, what, found)
			}
		}
	}
	for _, directive := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "worker-src blob:", "frame-ancestors 'none'"} {
		if !strings.Contains(web.ContentSecurityPolicy, directive) {
			t.Errorf("the policy lacks %s", directive)
		}
	}
	for _, loose := range []string{"unsafe", "*", "http:", "https:"} {
		if strings.Contains(web.ContentSecurityPolicy, loose) {
			t.Errorf("the policy allows %s", loose)
		}
	}
}
