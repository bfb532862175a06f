package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// leaf is a field that a flag or an environment variable can set.
type leaf struct {
	path, help string
	value      reflect.Value
}

// walk calls visit for every leaf of a struct, in the order of the fields.
func walk(v reflect.Value, prefix string, visit func(leaf)) {
	for i := range v.NumField() {
		name := keyOf(v.Type().Field(i))
		if name == "" {
			continue
		}
		field := v.Field(i)
		path := prefix + name
		switch {
		case isText(field.Type()), isScalar(field.Kind()), isStringList(field.Type()):
			visit(leaf{path: path, help: v.Type().Field(i).Tag.Get("help"), value: field})
		case field.Kind() == reflect.Struct:
			walk(field, path+".", visit)
		}
	}
}

// keyOf gives the YAML key of a field, empty when it has none.
func keyOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "-" {
		return ""
	}
	return name
}

func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func isScalar(k reflect.Kind) bool {
	return slices.Contains([]reflect.Kind{reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64}, k)
}

func isStringList(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String
}

// text gives the current value as a user would write it.
func (l leaf) text() string {
	if m, ok := l.value.Interface().(encoding.TextMarshaler); ok {
		if b, err := m.MarshalText(); err == nil {
			return string(b)
		}
	}
	if isStringList(l.value.Type()) {
		var words []string
		for i := range l.value.Len() {
			words = append(words, l.value.Index(i).String())
		}
		return strings.Join(words, ",")
	}
	return fmt.Sprint(l.value.Interface())
}

// set parses a text into the field. Lists are separated by commas; the empty text is the empty list.
func (l leaf) set(text string) error {
	if u, ok := l.value.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch l.value.Kind() {
	case reflect.String:
		l.value.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("want true or false")
		}
		l.value.SetBool(b)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, l.value.Type().Bits())
		if err != nil {
			return fmt.Errorf("want a whole number")
		}
		l.value.SetInt(n)
	case reflect.Float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("want a number")
		}
		l.value.SetFloat(x)
	case reflect.Slice:
		list := reflect.MakeSlice(l.value.Type(), 0, 4)
		for word := range strings.SplitSeq(text, ",") {
			if word = strings.TrimSpace(word); word != "" {
				list = reflect.Append(list, reflect.ValueOf(word).Convert(l.value.Type().Elem()))
			}
		}
		l.value.Set(list)
	default:
		return fmt.Errorf("cannot be set by a text")
	}
	return nil
}
