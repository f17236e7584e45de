package config

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// YAML writes the settings as a file that FromYAML reads back; comment, if not
// nil, gives the text that stands above a setting.
func (s *Settings) YAML(comment func(path string) string) ([]byte, error) {
	top := &yaml.Node{Kind: yaml.MappingNode}
	groups := map[string]*yaml.Node{"": top}
	for _, setting := range s.all {
		parent, name := groupOf(groups, setting.Path)
		key := &yaml.Node{Kind: yaml.ScalarNode, Value: name}
		if comment != nil {
			key.HeadComment = comment(setting.Path)
		}
		parent.Content = append(parent.Content, key, nodeOf(setting.value))
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(top); err != nil {
		return nil, err
	}
	return out.Bytes(), encoder.Close()
}

// groupOf returns the node of a path's parent, making it where it is new, and
// the path's own name.
func groupOf(groups map[string]*yaml.Node, path string) (*yaml.Node, string) {
	i := strings.LastIndexByte(path, '.')
	if i < 0 {
		return groups[""], path
	}
	group := groups[path[:i]]
	if group == nil {
		group = &yaml.Node{Kind: yaml.MappingNode}
		parent, name := groupOf(groups, path[:i])
		parent.Content = append(parent.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, group)
		groups[path[:i]] = group
	}
	return group, path[i+1:]
}

func nodeOf(v reflect.Value) *yaml.Node {
	switch v.Kind() {
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for i := range v.Len() {
			n.Content = append(n.Content, nodeOf(v.Index(i)))
		}
		return n
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
		pairs := pairsOf(v)
		for _, key := range slices.Sorted(maps.Keys(pairs)) {
			n.Content = append(n.Content, stringNode(key), stringNode(pairs[key]))
		}
		return n
	case reflect.String:
		return stringNode(v.String())
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: format(v)}
}

func stringNode(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(text)
	return n
}
