package config

import (
	"encoding"
	"reflect"
	"strings"
)

// EnvPrefix begins the name of every environment variable of a broker.
const EnvPrefix = "LEDGERMQ_"

// A Setting is one leaf of the configuration.
type Setting struct {
	// Path names it, for example "raft.heartbeat".
	Path string
	// Origin says where the value came from: "default", "FILE:LINE", "env NAME" or "flag --NAME".
	Origin string

	value reflect.Value
}

// Value is the setting as it would be written in the environment.
func (s *Setting) Value() string { return format(s.value) }

// Env is the name of the environment variable that gives the setting.
func (s *Setting) Env() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(s.Path, ".", "_"))
}

// Settings are all settings of one configuration struct, in its order.
type Settings struct {
	all []*Setting
}

// Of lists the settings of a configuration, given by a pointer to its struct.
// What the struct holds now counts as the defaults.
func Of(target any) *Settings {
	s := &Settings{}
	s.collect(reflect.ValueOf(target).Elem(), "")
	return s
}

func (s *Settings) collect(v reflect.Value, prefix string) {
	for i := range v.NumField() {
		name, ok := yamlName(v.Type().Field(i))
		switch field := v.Field(i); {
		case !ok:
		case isGroup(field):
			s.collect(field, prefix+name+".")
		default:
			s.all = append(s.all, &Setting{Path: prefix + name, Origin: "default", value: field})
		}
	}
}

// yamlName is the name in a field's yaml tag; a field without one is not a setting.
func yamlName(f reflect.StructField) (string, bool) {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return name, f.IsExported() && name != "" && name != "-"
}

// isGroup tells a struct of settings from a struct that is one value.
func isGroup(v reflect.Value) bool {
	_, isValue := v.Addr().Interface().(encoding.TextUnmarshaler)
	return v.Kind() == reflect.Struct && !isValue
}

// All returns the settings in the order of the struct.
func (s *Settings) All() []*Setting { return s.all }

// Find returns the setting with a path, or nil.
func (s *Settings) Find(path string) *Setting {
	for _, setting := range s.all {
		if setting.Path == path {
			return setting
		}
	}
	return nil
}

// under returns the names one level below a path ("" is the top), in order.
func (s *Settings) under(path string) []string {
	var names []string
	prefix := path + "."
	if path == "" {
		prefix = ""
	}
	for _, setting := range s.all {
		rest, ok := strings.CutPrefix(setting.Path, prefix)
		name, _, _ := strings.Cut(rest, ".")
		if ok && (len(names) == 0 || names[len(names)-1] != name) {
			names = append(names, name)
		}
	}
	return names
}

// FromEnv takes the LEDGERMQ_* variables of an environment as os.Environ gives
// it. Variables whose names are reserved belong to someone else.
func (s *Settings) FromEnv(environ, reserved []string) error {
	names, byName := reserved, map[string]*Setting{}
	for _, setting := range s.all {
		names = append(names, setting.Env())
		byName[setting.Env()] = setting
	}
	for _, name := range reserved {
		byName[name] = nil
	}
	for _, assignment := range environ {
		name, text, _ := strings.Cut(assignment, "=")
		if !strings.HasPrefix(name, EnvPrefix) {
			continue
		}
		setting, known := byName[name]
		switch {
		case !known:
			return &Error{Code: CodeUnknownEnv, Place: "env " + name, What: "no such setting" + meant(name, names)}
		case setting == nil:
		default:
			if err := set(setting.value, text); err != nil {
				return &Error{Code: CodeInvalidValue, Place: "env " + name, What: err.Error()}
			}
			setting.Origin = "env " + name
		}
	}
	return nil
}

// FromFlag takes the value of a flag.
func (s *Settings) FromFlag(path, flag, text string) error {
	setting := s.Find(path)
	if err := set(setting.value, text); err != nil {
		return &Error{Code: CodeInvalidValue, Place: "flag --" + flag, What: err.Error()}
	}
	setting.Origin = "flag --" + flag
	return nil
}
