// Package config reads a service's configuration: defaults, then a YAML file, then environment variables, then flags, later ones winning. Keys
// that the configuration does not have are refused with their line and the nearest key that it has.
//
// A configuration is a struct whose fields carry yaml tags and, for the help text, help tags. The package keeps no state.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/spf13/pflag"
)

// ErrInvalid is wrapped by every error about what the user wrote, as opposed to a file that cannot be read.
var ErrInvalid = errors.New("invalid configuration")

// envPrefix begins the name of every environment variable.
const envPrefix = "SLUICE_"

// Bind registers a flag for each scalar or list of strings in the struct that into points to, named by its path (--http.listen). Lists of structs,
// maps and optional sections (pointers) have no flags; they belong in the file.
func Bind(flags *pflag.FlagSet, into any) {
	walk(reflect.ValueOf(into).Elem(), "", func(l leaf) {
		flag := flags.VarPF(&rawValue{text: l.text(), kind: l.value.Type().Name()}, l.path, "", l.help+" ["+envName(l.path)+"]")
		if l.value.Kind() == reflect.Bool {
			flag.NoOptDefVal = "true"
		}
	})
}

// Load fills the struct that into points to, which holds the defaults: from file (unless empty), from environ (os.Environ's form) and from those flags
// bound by Bind that were set. Values of type Path and Program in the file are resolved against its directory.
func Load(flags *pflag.FlagSet, file string, environ []string, into any) error {
	if file != "" {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: --config %s: there is no such file", ErrInvalid, file)
		}
		if err != nil {
			return fmt.Errorf("--config %s: %w", file, err)
		}
		if err := Decode(file, data, into); err != nil {
			return err
		}
	}
	env := map[string]string{}
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok && strings.HasPrefix(name, envPrefix) {
			env[name] = value
		}
	}
	var errs []error
	walk(reflect.ValueOf(into).Elem(), "", func(l leaf) {
		if text, ok := env[envName(l.path)]; ok {
			if err := l.set(text); err != nil {
				errs = append(errs, fmt.Errorf("%w: %s=%q: %w", ErrInvalid, envName(l.path), text, err))
			}
		}
		if f := flags.Lookup(l.path); f != nil && f.Changed {
			if err := l.set(f.Value.String()); err != nil {
				errs = append(errs, fmt.Errorf("%w: --%s %q: %w", ErrInvalid, l.path, f.Value.String(), err))
			}
		}
	})
	return errors.Join(errs...)
}

// Decode fills the struct that into points to from the YAML text of file, whose name is used in errors and to resolve relative paths. The text holds one
// document; an empty one changes nothing.
func Decode(file string, data []byte, into any) (err error) {
	// The YAML library panics on some nonsense, a tag of its own kind on a list say; for the user that is a mistake in the file like any other.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %s: cannot be understood as YAML (%v)", ErrInvalid, file, p)
		}
	}()
	parsed, err := parser.ParseBytes(data, 0)
	if err != nil {
		return fmt.Errorf("%w: %s: %s", ErrInvalid, file, yaml.FormatError(err, false, true))
	}
	if len(parsed.Docs) > 1 {
		return fmt.Errorf("%w: %s: holds %d YAML documents, want one", ErrInvalid, file, len(parsed.Docs))
	}
	if len(parsed.Docs) == 0 || parsed.Docs[0].Body == nil {
		return nil
	}
	body := parsed.Docs[0].Body
	if _, isMapping := body.(ast.MapNode); !isMapping {
		return fmt.Errorf("%w: %s: want keys and values at the top, found %s", ErrInvalid, file, body.Type())
	}
	c := checker{file: file, directory: filepath.Dir(file)}
	c.check(body, reflect.TypeOf(into).Elem(), "")
	if len(c.errs) > 0 {
		return errors.Join(c.errs...)
	}
	if err := yaml.NodeToValue(body, into); err != nil {
		return fmt.Errorf("%w: %s: %s", ErrInvalid, file, yaml.FormatError(err, false, true))
	}
	return nil
}

func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(path))
}

// rawValue keeps a flag's text until Load knows where it goes.
type rawValue struct{ text, kind string }

func (r *rawValue) String() string        { return r.text }
func (r *rawValue) Set(text string) error { r.text = text; return nil }
func (r *rawValue) Type() string          { return strings.ToLower(r.kind) }
