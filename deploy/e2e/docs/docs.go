// Package docs reads the examples in the documentation: what a reader is told to type, to write or to expect. Each is a fenced block that names its language, and a comment before
// it, which a reader of the page does not see, says which tests run it:
//
//	<!-- run by TestDocumentedCommands -->
//	```sh
//	make run
//	```
//
// or why none does: `<!-- not run: it needs a GPU -->`. Blocks in the language text are no examples: drawings, the output of a program.
package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/text"
)

// Example is a block of a page.
type Example struct {
	// Page is the file's path from the repository's root, Line that of the block's first line in it.
	Page string
	Line int
	// Language is the block's: "sh", "yaml". It is empty for a block that names none, as indented ones.
	Language string
	// Text is the block, without its indentation in the page.
	Text string
	// Tests are the names of what runs the example: Go tests, files of JavaScript tests, targets as "make lint".
	Tests []string
	// NotRun says why nothing runs it. An example has either tests or a reason.
	NotRun string
}

// String names the example as compilers name a place.
func (e Example) String() string { return fmt.Sprintf("%s:%d", e.Page, e.Line) }

// skipped are folders with pages of others.
var skipped = regexp.MustCompile(`^(\.|node_modules$|testdata$|build$|bin$)`)

// Pages gives the paths, from root, of all pages in Markdown below it.
func Pages(root string) (pages []string, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && skipped.MatchString(d.Name()):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, ".md"):
			relative, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			pages = append(pages, relative)
		}
		return nil
	})
	return pages, err
}

// Read gives the examples of a page below root, in their order. What is no example, in the language text, is left out.
func Read(root, page string) ([]Example, error) {
	source, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		return nil, err
	}
	return parse(page, source)
}

func parse(page string, source []byte) (all []Example, err error) {
	document := goldmark.DefaultParser().Parse(text.NewReader(source))
	err = ast.Walk(document, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering || node.Kind() != ast.KindFencedCodeBlock && node.Kind() != ast.KindCodeBlock {
			return ast.WalkContinue, nil
		}
		e := Example{Page: page}
		if fenced, is := node.(*ast.FencedCodeBlock); is {
			e.Language = string(fenced.Language(source))
		}
		if e.Language == "text" || node.Lines().Len() == 0 {
			return ast.WalkContinue, nil
		}
		e.Line = 1 + strings.Count(string(source[:node.Lines().At(0).Start]), "\n")
		e.Text = string(node.Lines().Value(source))
		if comment, is := node.PreviousSibling().(*ast.HTMLBlock); is {
			if err := e.read(string(comment.Lines().Value(source))); err != nil {
				return ast.WalkStop, err
			}
		}
		all = append(all, e)
		return ast.WalkContinue, nil
	})
	return all, err
}

// marks are the comments that say something of the example after them.
var marks = regexp.MustCompile(`^<!-- (run by|not run:) (.+) -->\s*$`)

// read takes the comment before the example.
func (e *Example) read(comment string) error {
	mark := marks.FindStringSubmatch(comment)
	switch {
	case mark == nil:
		return fmt.Errorf("%s: the comment before it is %q: want <!-- run by TEST, TEST --> or <!-- not run: WHY -->", e, strings.TrimSpace(comment))
	case mark[1] == "run by":
		e.Tests = strings.Split(mark[2], ", ")
	default:
		e.NotRun = mark[2]
	}
	return nil
}

// By gives the examples that a test runs, of all pages below root. Their order is that of the pages' paths, and within a page theirs.
func By(root, test string) (all []Example, err error) {
	pages, err := Pages(root)
	if err != nil {
		return nil, err
	}
	for _, page := range pages {
		examples, err := Read(root, page)
		if err != nil {
			return nil, err
		}
		for _, e := range examples {
			for _, name := range e.Tests {
				if name == test {
					all = append(all, e)
				}
			}
		}
	}
	return all, nil
}
