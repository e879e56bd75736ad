package config

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// The ConfigMap that sealos' image-cri-shim reads.
const (
	SealosNamespace = "kube-system"
	SealosConfigMap = "image-cri-shim"
	SealosKey       = "registries.yaml"
)

// SealosRegistries returns the text registries.yaml in the manifest of sealos' ConfigMap, or in
// the manifest of a list with it, in YAML or JSON as kubectl prints them. Any other source is
// returned unchanged, since it is the text itself. The error has the type [Problems] and contains
// nothing of the text.
func SealosRegistries(source Source) (Source, error) {
	document := &document{file: source.Name, places: map[string]place{}}
	root, ok := document.open(source.Data)
	if !ok {
		return Source{}, document.err()
	}
	kind := root.text("kind")
	var text value
	switch {
	case kind == "ConfigMap":
		text = root.registries()
	case slices.Contains([]string{"ConfigMapList", "List"}, kind):
		text = root.sealosItem().registries()
	case kind == "":
		return source, nil
	default:
		root.fields()["kind"].problem("found the manifest of a %s, expected a ConfigMap; name it for kubectl: kubectl -n %s get configmap %s -o yaml", abridge(kind), SealosNamespace, SealosConfigMap)
	}
	if err := document.err(); err != nil {
		return Source{}, err
	}
	return Source{source.Name + ": " + SealosKey, []byte(text.node.Value)}, nil
}

// text returns the text of a key of a mapping, or "".
func (v value) text(key string) string {
	field, ok := v.fields()[key]
	if !ok || field.node.Kind != yaml.ScalarNode {
		return ""
	}
	return field.node.Value
}

// registries returns the text registries.yaml of the manifest of a ConfigMap.
func (v value) registries() value {
	if v.node == nil { // the problem is recorded
		return v
	}
	data, text := v.fields()["data"], value{}
	if data.node != nil {
		text = data.fields()[SealosKey]
	}
	switch {
	case text.node == nil:
		v.problem("this ConfigMap has no data.%s, which is the text that sealos' image-cri-shim reads", SealosKey)
	case text.kind() != "a text":
		text.problem("found %s, expected a text; write | after the key", text.kind())
	}
	return text
}

// sealosItem returns the item of a list of manifests that is sealos' ConfigMap.
func (v value) sealosItem() value {
	items := v.fields()["items"]
	if items.node != nil {
		for i, node := range items.node.Content {
			item := v.document.value(fmt.Sprintf("items[%d]", i), place{node.Line, node.Column}, node)
			metadata := item.fields()["metadata"]
			if namespace := metadata.text("namespace"); item.text("kind") == "ConfigMap" && metadata.text("name") == SealosConfigMap && (namespace == "" || namespace == SealosNamespace) {
				return item
			}
		}
	}
	v.problem("this list has no ConfigMap %s/%s, which sealos' image-cri-shim reads", SealosNamespace, SealosConfigMap)
	return value{}
}
