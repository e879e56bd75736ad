package clients

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// yamlFormat is the format of YAML files with endpoints in top-level keys. Such a file may also
// be JSON.
func yamlFormat(keys ...string) format {
	return format{
		find: func(content string) ([]setting, error) {
			if isJSON(content) {
				return findJSON(content, keys)
			}
			return findYAML(content, keys)
		},
		add: func(content, key, endpoint string) string {
			if isJSON(content) {
				return addJSON(content, key, endpoint)
			}
			return appendLine(content, indentation(content)+key+": "+endpoint)
		},
	}
}

// indentation returns the spaces before each top-level key.
func indentation(content string) string {
	root, err := readMapping(content)
	if err != nil || root == nil {
		return ""
	}
	return strings.Repeat(" ", root.Column-1)
}

func findYAML(content string, keys []string) ([]setting, error) {
	root, err := readMapping(content)
	if err != nil || root == nil {
		return nil, err
	}
	var settings []setting
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		switch {
		case key.Tag == "!!merge" || key.Kind != yaml.ScalarNode:
			return nil, fmt.Errorf("line %d: expected a plain key", key.Line)
		case key.Value == "kind" && value.Value != "KubeletConfiguration":
			return nil, lineError(value.Line, key.Value, fmt.Sprintf("found %q, expected KubeletConfiguration", value.Value))
		case !slices.Contains(keys, key.Value):
			continue
		}
		if _, twice := findSetting(settings, key.Value); twice {
			return nil, lineError(key.Line, key.Value, "is set twice")
		}
		found, err := locateValue(content, key, value)
		if err != nil {
			return nil, err
		}
		settings = append(settings, found)
	}
	return settings, nil
}

// readMapping returns the top-level mapping, or nil if the file has none.
func readMapping(content string) (root *yaml.Node, err error) {
	defer func() {
		// The library panics on its internal errors.
		if recover() != nil {
			err = errors.New("this YAML can't be read")
		}
	}()
	decoder := yaml.NewDecoder(strings.NewReader(content))
	document := &yaml.Node{}
	switch err := decoder.Decode(document); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, err
	}
	next := &yaml.Node{}
	if err := decoder.Decode(next); err == nil {
		return nil, fmt.Errorf("line %d: found a second YAML document, expected one", next.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	root = document.Content[0]
	if root.Kind != yaml.MappingNode || root.Style&yaml.FlowStyle != 0 || root.Anchor != "" || !beginsLine(content, root) {
		return nil, fmt.Errorf("line %d: expected keys with values, one on each line", root.Line)
	}
	return root, nil
}

// beginsLine reports whether only spaces precede a node on its line.
func beginsLine(content string, node *yaml.Node) bool {
	end := byteOffset(content, node.Line, node.Column)
	return strings.Trim(content[byteOffset(content, node.Line, 1):end], " ") == ""
}

// locateValue returns the setting of a key. The text of its value must be on the key's line and
// equal the value, plain or in quotes.
func locateValue(content string, key, value *yaml.Node) (setting, error) {
	if value.Kind != yaml.ScalarNode || value.Anchor != "" || value.Line != key.Line || value.Tag == "!!null" {
		return setting{}, lineError(key.Line, key.Value, "expected an endpoint after it, on the same line")
	}
	start := byteOffset(content, value.Line, value.Column)
	for _, text := range []string{value.Value, `"` + value.Value + `"`, `'` + value.Value + `'`} {
		if text != "" && strings.HasPrefix(content[start:], text) {
			return setting{key: key.Value, line: key.Line, start: start, end: start + len(text), endpoint: value.Value, fullRange: cutLine(content, key.Line)}, nil
		}
	}
	return setting{}, lineError(key.Line, key.Value, "expected a literal endpoint, without escapes or a tag")
}

// byteOffset returns the offset of a line and a column, both from 1, the column in
// characters.
func byteOffset(content string, line, column int) int {
	start := 0
	for range line - 1 {
		_, rest, _ := strings.Cut(content[start:], "\n")
		start = len(content) - len(rest)
	}
	for range column - 1 {
		_, size := utf8.DecodeRuneInString(content[start:])
		start += size
	}
	return start
}
