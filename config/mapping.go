package config

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// keyParsers maps each key of a mapping to the function that reads its value.
type keyParsers map[string]func(value)

// secretKeys are the keys whose values are secret. Errors never show a part of them.
var secretKeys = []string{"auth", "username", "password"}

// mapping parses the keys of v, and returns the values that are not empty by key. A retired key
// has no effect and causes a warning, whatever its value is.
func (v value) mapping(known keyParsers, retired ...string) map[string]value {
	set := map[string]value{}
	if v.null() {
		return set
	}
	if v.node.Kind != yaml.MappingNode {
		if t, ok := v.document.nearestTrap(max(v.place.line, 1), 0); ok && v.node.Kind == yaml.ScalarNode {
			v.document.problem(t.place, t.key, t.text)
			return set
		}
		v.problem("found %s, expected keys and values", v.kind())
		return set
	}
	lines := map[string]int{}
	previous := ""
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key, child := v.pair(v.node.Content[i], v.node.Content[i+1])
		read, ok := known[key]
		isRetired := slices.Contains(retired, key)
		switch {
		case !ok && !isRetired && v.node.Style&yaml.FlowStyle != 0 && slices.Contains(secretKeys, previous):
			child.key = strings.TrimPrefix(v.key+"."+previous, ".")
			child.problem("is followed by an unknown key, which is not shown; quote a value with a comma in it")
			continue // the next key may be another part of the value
		case !ok && !isRetired:
			v.unknown(child, key, slices.Sorted(maps.Keys(known)))
		case lines[key] > 0:
			child.problem("is set twice, first on line %d%s", lines[key], v.sealosHint(key))
		case isRetired:
			lines[key] = child.place.line
			child.warn("has no effect here; it may stay")
		default:
			lines[key] = child.place.line
			v.document.places[child.key] = child.place
			if !child.empty() {
				set[key] = child
			}
			child.warnOfComment()
			read(child)
		}
		previous = key
	}
	return set
}

// pair returns a key and its value. The position of the value is that of the key.
func (v value) pair(key, node *yaml.Node) (string, value) {
	at := place{key.Line, key.Column}
	name := v.document.value("", at, key).node
	if name.Kind != yaml.ScalarNode {
		return "", v.document.value(v.key, at, node)
	}
	path := name.Value
	if v.key != "" {
		path = v.key + "." + name.Value
	}
	return name.Value, v.document.value(path, at, node)
}

// unknown records a key that is not one of names.
func (v value) unknown(child value, key string, names []string) {
	name, _, colon := strings.Cut(key, ":") // user:password may follow
	name, _, _ = strings.Cut(name, "：")
	child.key = strings.TrimSuffix(child.key, key) + abridge(withoutOdd(name))
	message := v.document.message(child.place, child.key, "unknown key")
	message.Keys = names
	switch near := nearest(key, names); {
	case colon:
		message.Text += " with a colon in it, expected `key: value` with a space after the colon"
	case odd(key) != "":
		message.Text += " with " + odd(key)
		message.Hint = "type it again"
	case near != "":
		message.Hint = "did you mean `" + near + "`?"
	default:
		message.Hint = "image-cri-shim check --verbose lists the valid keys"
	}
	v.document.add(message)
}
