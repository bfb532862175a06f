package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/goccy/go-yaml/ast"
)

// checker walks a YAML tree beside the type that it is for: it collects unknown keys and makes relative paths absolute.
type checker struct {
	file, directory string
	errs            []error
}

func (c *checker) check(node ast.Node, t reflect.Type, path string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch n := node.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			c.checkKey(v, t, path)
		}
	case *ast.MappingValueNode:
		c.checkKey(n, t, path)
	case *ast.SequenceNode:
		if t.Kind() == reflect.Slice {
			for i, v := range n.Values {
				c.check(v, t.Elem(), fmt.Sprintf("%s[%d]", path, i))
			}
		}
	case *ast.StringNode:
		isProgram := t == reflect.TypeFor[Program]() && strings.ContainsRune(n.Value, filepath.Separator)
		if (t == reflect.TypeFor[Path]() || isProgram) && n.Value != "" && !filepath.IsAbs(n.Value) {
			n.Value = filepath.Join(c.directory, n.Value)
		}
	}
}

func (c *checker) checkKey(v *ast.MappingValueNode, t reflect.Type, path string) {
	if t.Kind() != reflect.Struct || isText(t) {
		if t.Kind() == reflect.Map {
			c.check(v.Value, t.Elem(), path)
		}
		return
	}
	key := v.Key.GetToken().Value
	var known []string
	for i := range t.NumField() {
		name := keyOf(t.Field(i))
		if name == key {
			c.check(v.Value, t.Field(i).Type, strings.TrimPrefix(path+"."+key, "."))
			return
		}
		if name != "" {
			known = append(known, name)
		}
	}
	where := ""
	if path != "" {
		where = " in " + path
	}
	c.errs = append(c.errs, fmt.Errorf("%w: %s:%d: unknown key %q%s; %s",
		ErrInvalid, c.file, v.Key.GetToken().Position.Line, key, where, suggest(key, known)))
}

// suggest names the nearest known key when one is near, all of them otherwise.
func suggest(key string, known []string) string {
	distance := func(a string) int { return levenshtein.Distance(strings.ToLower(a), strings.ToLower(key), nil) }
	slices.Sort(known)
	nearest := slices.MinFunc(known, func(a, b string) int { return distance(a) - distance(b) })
	if distance(nearest) <= max(1, len(key)/2) {
		return fmt.Sprintf("did you mean %q?", nearest)
	}
	return "known keys: " + strings.Join(known, ", ")
}
