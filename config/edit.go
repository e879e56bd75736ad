package config

import (
	"bytes"
	"errors"
	"slices"

	"go.yaml.in/yaml/v3"
)

// edit applies change to the top level of a YAML file, which has to be a mapping or nothing, and
// returns the new text.
func edit(data []byte, change func(root *yaml.Node)) (edited []byte, err error) {
	first, _, err := decode(data)
	if err != nil {
		return nil, err
	}
	var before []byte // a file of comments
	if first == nil || first.Content[0].Kind != yaml.MappingNode {
		if before = bytes.TrimSpace(data); first != nil {
			before = nil // null
		}
		first = &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{{Kind: yaml.MappingNode}}}
	}
	root := first.Content[0]
	change(root)
	if len(root.Content) == 0 {
		return before, nil
	}
	root.Style &^= yaml.FlowStyle
	budget := nodeLimit
	if first = expanded(first, &budget); budget <= 0 {
		return nil, errors.New("aliases make the file too large; write the values in their places")
	}
	text, err := encode(first)
	if err != nil {
		return nil, err
	}
	if len(before) > 0 {
		before = append(slices.Clip(before), '\n')
	}
	return append(before, text...), nil
}

// nodeLimit bounds the nodes of a file with its aliases expanded.
const nodeLimit = 1 << 17

// expanded returns a copy of node without anchors and aliases, since either end of one may be
// replaced. It stops when the budget of nodes is used up.
func expanded(node *yaml.Node, budget *int) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	result := *node
	result.Anchor, result.Alias, result.Content = "", nil, nil
	for _, part := range node.Content {
		if *budget--; *budget <= 0 {
			break
		}
		result.Content = append(result.Content, expanded(part, budget))
	}
	return &result
}

// encode is the inverse of decode.
func encode(node *yaml.Node) (data []byte, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the YAML library failed on this file; remove comments and tags")
		}
	}()
	var buffer bytes.Buffer
	encoder := yaml.NewEncoder(&buffer)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(node), encoder.Close()); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

// index returns the place of a key in the content of a mapping, or -1.
func index(mapping *yaml.Node, key string) int {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if name := mapping.Content[i]; name.Value == key || name.Kind == yaml.AliasNode && name.Alias.Value == key {
			return i
		}
	}
	return -1
}

// child returns the value of a key of a mapping, or nil.
func child(mapping *yaml.Node, key string) *yaml.Node {
	at := index(mapping, key)
	if at < 0 {
		return nil
	}
	if node := mapping.Content[at+1]; node.Kind == yaml.AliasNode {
		mapping.Content[at+1] = node.Alias
	}
	return mapping.Content[at+1]
}

// replace sets a key of a mapping to a value. A present key keeps its place and comment.
func replace(mapping, key, node *yaml.Node) {
	if key.Kind == yaml.AliasNode {
		key = key.Alias
	}
	if at := index(mapping, key.Value); at >= 0 {
		mapping.Content[at+1] = node
		return
	}
	mapping.Content = append(mapping.Content, key, node)
}

// remove removes a key of a mapping.
func remove(mapping *yaml.Node, key string) {
	if at := index(mapping, key); at >= 0 {
		mapping.Content = slices.Delete(mapping.Content, at, at+2)
	}
}
