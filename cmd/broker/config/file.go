package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// FromFile takes the settings of a YAML file.
func (s *Settings) FromFile(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return &Error{Code: CodeFile, Place: path, What: "cannot be read: " + reason(err)}
	}
	return s.FromYAML(path, text)
}

// reason is an error without the path that its caller names already.
func reason(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// FromYAML takes the settings of one YAML document; name stands for it in errors.
func (s *Settings) FromYAML(name string, text []byte) error {
	r := &reader{settings: s, name: name}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil // an empty file sets nothing
	case err != nil:
		return r.syntax(err)
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			return r.syntax(err)
		}
		return r.fault(CodeSyntax, &second, "a second document: one file holds one")
	}
	top := document.Content[0]
	if top.Kind == yaml.ScalarNode && top.Tag == "!!null" {
		return nil // nothing but comments
	}
	return r.group("", top)
}

// A reader walks the nodes of one file.
type reader struct {
	settings *Settings
	name     string
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

func (r *reader) syntax(err error) error {
	place, what := r.name, err.Error()
	if m := yamlLine.FindStringSubmatch(what); m != nil {
		place, what = r.name+":"+m[1], what[len(m[0]):]
	}
	return &Error{Code: CodeSyntax, Place: place, What: what}
}

func (r *reader) fault(code string, n *yaml.Node, format string, args ...any) error {
	place := fmt.Sprintf("%s:%d:%d", r.name, n.Line, n.Column)
	return &Error{Code: code, Place: place, What: fmt.Sprintf(format, args...)}
}

// group reads the keys below a path ("" is the top).
func (r *reader) group(path string, n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return r.fault(CodeInvalidValue, n, "%s wants keys and values below it", orTop(path))
	}
	names := r.settings.under(path)
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		child := key.Value
		if path != "" {
			child = path + "." + key.Value
		}
		if seen[key.Value] {
			return r.fault(CodeDuplicateKey, key, "%q is given twice under %s", key.Value, orTop(path))
		}
		seen[key.Value] = true
		if err := r.child(path, child, names, key, value); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) child(parent, path string, names []string, key, value *yaml.Node) error {
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	if setting := r.settings.Find(path); setting != nil {
		setting.Origin = fmt.Sprintf("%s:%d", filepath.Base(r.name), key.Line)
		return r.setting(setting, value)
	}
	if len(r.settings.under(path)) > 0 {
		return r.group(path, value)
	}
	return r.fault(CodeUnknownKey, key, "unknown key %q under %s%s", key.Value, orTop(parent), meant(key.Value, names))
}

func orTop(path string) string {
	if path == "" {
		return "the top level"
	}
	return path
}

func (r *reader) setting(s *Setting, n *yaml.Node) error {
	var err error
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return r.fault(CodeInvalidValue, n, "%s has no value", s.Path)
	case n.Kind == yaml.ScalarNode:
		err = set(s.value, n.Value)
	case n.Kind == yaml.SequenceNode && s.value.Kind() == reflect.Slice:
		err = setSlice(s.value, scalars(n))
	case n.Kind == yaml.MappingNode && s.value.Kind() == reflect.Map:
		err = setMap(s.value, n)
	default:
		err = errors.New("a value of another kind is wanted here")
	}
	if err != nil {
		return r.fault(CodeInvalidValue, n, "%s: %v", s.Path, err)
	}
	return nil
}

func scalars(n *yaml.Node) []string {
	items := make([]string, len(n.Content))
	for i, item := range n.Content {
		items[i] = item.Value
	}
	return items
}

func setMap(v reflect.Value, n *yaml.Node) error {
	m := reflect.MakeMap(v.Type())
	for i := 0; i+1 < len(n.Content); i += 2 {
		if err := setPair(m, n.Content[i].Value, n.Content[i+1].Value); err != nil {
			return err
		}
	}
	v.Set(m)
	return nil
}
