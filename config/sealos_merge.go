package config

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Source is a YAML text and the name that stands for it in errors and warnings.
type Source struct {
	Name string
	Data []byte
}

// nodeKeys are the keys that sealos' sync never takes from its ConfigMap, and the reason for
// the warning about them. The keys without a reason have no effect anywhere.
var nodeKeys = map[string]string{
	"shim":       "has no effect in the ConfigMap; set it in the node's file",
	"cri":        "has no effect in the ConfigMap; set it in the node's file",
	"image":      "has no effect in the ConfigMap; set it in the node's file",
	"address":    "has no effect in the ConfigMap; set it below sealos",
	"auth":       "has no effect in the ConfigMap; set it below sealos",
	"version":    "",
	"sync":       "",
	"registry.d": "",
}

// replacedKeys are the keys that sealos' sync replaces even if the ConfigMap does not have them.
var replacedKeys = []string{"registries", "reloadInterval"}

// MergeSealos applies the text registries.yaml of sealos' ConfigMap kube-system/image-cri-shim to
// a configuration, as sealos' sync does, and returns the text of the resulting file. file may be
// empty. If registries has no keys, or sets nothing that file does not, the result is file.Data.
//
// The main registry's address and auth come from below sealos if they are set there. registries
// and reloadInterval are replaced, even by nothing. Any other key of the ConfigMap that is not
// empty replaces that of the file, below cache one by one. The other keys of the file stay, and
// so do comments; empty lines do not. The ConfigMap can't set the keys of the node (shim, cri,
// image), which causes a warning.
//
// The error has the type [Problems]. Neither errors nor warnings contain credentials.
func MergeSealos(file, registries Source) (merged []byte, warnings []Message, err error) {
	before, fileErr := Parse(file.Name, file.Data)
	wanted, registriesErr := Parse(registries.Name, registries.Data)
	if fileErr != nil || registriesErr != nil {
		var problems Problems
		for _, err := range []error{fileErr, registriesErr} {
			if err != nil {
				problems = append(problems, ProblemsOf("", err)...)
			}
		}
		return nil, nil, problems
	}
	if len(wanted.places) == 0 {
		return file.Data, nil, nil
	}
	merge := merge{document: &document{file: registries.Name, places: map[string]place{}}, file: file.Name, before: before}
	root, ok := merge.document.open(registries.Data)
	if !ok {
		return nil, nil, merge.document.err()
	}
	name := file.Name + " merged with " + registries.Name
	merged, err = edit(file.Data, func(target *yaml.Node) { merge.apply(target, root) })
	if err != nil {
		return nil, nil, Problems{Message{File: name, Text: err.Error(), cause: err}}
	}
	after, err := Parse(name, merged)
	if err != nil {
		return nil, nil, err
	}
	warnings = inLineOrder(merge.document.warnings)
	if before.equalSettings(after) {
		return file.Data, warnings, nil
	}
	return merged, warnings, nil
}

// equalSettings reports whether two configurations differ only in their warnings and origin.
func (c *Config) equalSettings(other *Config) bool {
	a, b := *c, *other
	a.Warnings, b.Warnings = nil, nil
	a.file, b.file = "", ""
	return a.Equal(&b)
}

// merge is one run of [MergeSealos].
type merge struct {
	document *document // of the ConfigMap's text
	file     string    // name of the node's file
	before   *Config   // of the node's file
}

// apply changes the top level of the node's file. root is the top level of the ConfigMap's text.
func (m *merge) apply(target *yaml.Node, root value) {
	if sealos := child(target, "sealos"); sealos != nil {
		for i := 0; i+1 < len(sealos.Content); i += 2 {
			replace(target, sealos.Content[i], sealos.Content[i+1])
		}
		remove(target, "sealos")
	}
	for i := 0; i+1 < len(root.node.Content); i += 2 {
		key, v := root.pair(root.node.Content[i], root.node.Content[i+1])
		reason, ofNode := nodeKeys[key]
		switch {
		case v.empty():
		case ofNode:
			if reason != "" {
				v.warn("%s", reason)
			}
		case key == "sealos":
			m.applyMain(target, v)
		case key == "cache":
			applyCache(target, root.node.Content[i], v)
		default:
			replace(target, root.node.Content[i], root.node.Content[i+1])
		}
	}
	set := root.fields()
	for _, key := range replacedKeys {
		if v, ok := set[key]; !ok || v.empty() || len(v.node.Content) == 0 && key == "registries" {
			remove(target, key)
		}
	}
	if child(target, "registries") == nil && slices.ContainsFunc(m.before.Registries, func(r Registry) bool { return !r.Main }) {
		at := set["registries"].place // zero if there is none
		m.document.warn(at, "registries", "sets none, so those of "+m.file+" are removed, as sealos does; add them to the ConfigMap")
	}
}

// applyMain sets the address and the credentials of the main registry.
func (m *merge) applyMain(target *yaml.Node, sealos value) {
	var main Registry
	set := main.readSealos(value{document: &document{places: map[string]place{}}, node: sealos.node}) // parsed before without problems
	for i := 0; i+1 < len(sealos.node.Content); i += 2 {
		key, _ := sealos.pair(sealos.node.Content[i], sealos.node.Content[i+1])
		if key == "address" && main.Address != "" || key == "auth" && main.Username != "" {
			replace(target, sealos.node.Content[i], sealos.node.Content[i+1])
		}
	}
	if len(m.before.Registries) == 0 || main.Address == "" || main.Username != "" {
		return
	}
	if known := m.before.Registries[0]; known.Main && known.Username != "" && canonicalAddress(known.Address) != canonicalAddress(main.Address) {
		v := set["address"]
		m.document.warn(v.place, "sealos.address", fmt.Sprintf("the login of %s is sent to this address, as sealos does; set auth below sealos", m.file))
	}
}

// applyCache sets the keys below cache that have an effect.
func applyCache(target, key *yaml.Node, cache value) {
	if of := child(target, "cache"); of == nil || of.Kind != yaml.MappingNode { // absent or null
		replace(target, key, &yaml.Node{Kind: yaml.MappingNode})
	}
	of := child(target, "cache")
	for i := 0; i+1 < len(cache.node.Content); i += 2 {
		key, v := cache.pair(cache.node.Content[i], cache.node.Content[i+1])
		if slices.Contains([]string{"imageCacheSize", "imageCacheTTL", "absentTTL"}, key) && !v.empty() {
			replace(of, cache.node.Content[i], cache.node.Content[i+1])
		}
	}
	if len(of.Content) == 0 {
		remove(target, "cache")
	}
}
