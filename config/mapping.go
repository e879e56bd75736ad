package config

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// keyParsers maps each key of a mapping to the function that reads its value.
type keyParsers map[string]func(value)

// mapping parses the keys of v, and returns the values that are not empty by key.
func (v value) mapping(known keyParsers) map[string]value {
	set := map[string]value{}
	if v.null() {
		return set
	}
	if v.node.Kind != yaml.MappingNode {
		v.problem("found %s, expected keys and values", v.kind())
		return set
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key, child := v.pair(v.node.Content[i], v.node.Content[i+1])
		read, ok := known[key]
		switch {
		case !ok:
			v.unknown(child, key, known)
		case lines[key] > 0:
			child.problem("is set twice, first on line %d", lines[key])
		default:
			lines[key] = child.line
			if !child.empty() {
				set[key] = child
			}
			read(child)
		}
	}
	return set
}

// pair returns a key and its value. The line of the value is that of the key.
func (v value) pair(key, node *yaml.Node) (string, value) {
	name := v.document.value("", key.Line, key).node
	if name.Kind != yaml.ScalarNode {
		return "", v.document.value(v.key, key.Line, node)
	}
	path := name.Value
	if v.key != "" {
		path = v.key + "." + name.Value
	}
	return name.Value, v.document.value(path, key.Line, node)
}

func (v value) unknown(child value, key string, known keyParsers) {
	names := slices.Sorted(maps.Keys(known))
	name, _, colon := strings.Cut(key, ":") // user:password may follow
	child.key = strings.TrimSuffix(child.key, key) + abridge(name)
	if colon {
		child.problem("unknown key with a colon in it, expected `key: value` with a space after the colon")
	} else if near := nearest(key, names); near != "" {
		child.problem("unknown key, did you mean `%s`?", near)
	} else {
		child.problem("unknown key, expected one of %s", strings.Join(names, ", "))
	}
}
