package config

import (
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// manifest reports whether v is the manifest of a ConfigMap or Secret, as kubectl prints it, and
// records this as the only problem. The configuration is a text within such a manifest.
func (v value) manifest() bool {
	fields := v.fields()
	kind := fields["kind"]
	if kind.node == nil || kind.node.Value != "ConfigMap" && kind.node.Value != "Secret" {
		return false
	}
	name, more := "data", ""
	for _, part := range []string{"data", "stringData"} {
		keys := slices.Sorted(maps.Keys(fields[part].fields()))
		if len(keys) == 0 {
			continue
		}
		key := keys[0]
		if slices.Contains(keys, SealosKey) {
			key = SealosKey
			more = ", or convert it with image-cri-shim migrate"
		}
		name = part + "." + abridge(key)
		if kind.node.Value == "Secret" && part == "data" {
			more = ", decoded with base64 -d"
		}
		break
	}
	kind.problem("this is the manifest of a %s; use the text below %s%s", kind.node.Value, name, more)
	return true
}

// fields returns the values of a mapping by key, or nil if v is not a mapping.
func (v value) fields() map[string]value {
	if v.node == nil || v.node.Kind != yaml.MappingNode {
		return nil
	}
	fields := map[string]value{}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key, child := v.pair(v.node.Content[i], v.node.Content[i+1])
		fields[key] = child
	}
	return fields
}
