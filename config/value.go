package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// itemLimit bounds the items of a list. Without it, aliases could expand a small file to a huge
// one.
const itemLimit = 256

// nullNode represents an absent value.
var nullNode = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}

// value is one value of a document and its position.
type value struct {
	document *document
	key      string     // dotted path, such as registries[1].priority
	place    place      // of its key, or of the item of a list
	node     *yaml.Node // never an alias
	alias    bool       // the text is elsewhere in the file, possibly under auth
}

func (d *document) value(key string, at place, node *yaml.Node) value {
	v := value{document: d, key: key, place: at, node: node}
	if node.Kind == yaml.AliasNode {
		v.node, v.alias = node.Alias, true
	}
	return v
}

func (v value) problem(format string, arguments ...any) {
	v.document.problem(v.place, v.key, fmt.Sprintf(format, arguments...))
}

func (v value) warn(format string, arguments ...any) {
	v.document.warn(v.place, v.key, fmt.Sprintf(format, arguments...))
}

// into returns a function that parses a value and stores the result in target. Null and
// errors, which are reported, leave target unchanged.
func into[T any](target *T, parse func(value) (T, error)) func(value) {
	return func(v value) {
		if v.null() {
			return
		}
		result, err := parse(v)
		if err != nil {
			v.problem("%s%s", err, oddHint(v))
			return
		}
		*target = result
	}
}

func (v value) null() bool {
	return v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!null"
}

// empty reports whether v is null or an empty text. A YAML tag, such as !docker.io without
// quotes, is not empty.
func (v value) empty() bool {
	return v.null() || v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!str" && v.node.Value == ""
}

// kind returns the kind of a value and reveals nothing of its content.
func (v value) kind() string {
	switch v.node.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	}
	switch v.node.ShortTag() {
	case "!!str", "!!merge": // << without quotes
		return "a text"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "nothing"
	case "!!timestamp":
		return "a date"
	}
	return "a YAML tag (a text that begins with ! needs quotes)"
}

// found describes a value in an error, with its content if that is safe. It must not be used
// for auth.
func (v value) found() string {
	switch tag := v.node.ShortTag(); {
	case v.alias || v.node.Kind != yaml.ScalarNode:
		return v.kind()
	case tag == "!!str":
		return quote(v.node.Value)
	case longNumber.MatchString(v.node.Value):
	case tag == "!!int" || tag == "!!float" || tag == "!!bool":
		return abridge(v.node.Value)
	}
	return v.kind()
}

// unexpected returns the error for a value that does not fit its key.
func (v value) unexpected(expected string) error {
	return fmt.Errorf("found %s, expected %s", v.found(), expected)
}

// items returns the values of a list. expected describes the list in the error.
func (v value) items(expected string) []value {
	if v.null() {
		return nil
	}
	if v.node.Kind != yaml.SequenceNode {
		v.problem("found %s, expected %s", v.kind(), expected)
		return nil
	}
	if len(v.node.Content) > itemLimit {
		v.problem("found %d items, expected at most %d", len(v.node.Content), itemLimit)
		return nil
	}
	var items []value
	for i, node := range v.node.Content {
		items = append(items, v.document.value(fmt.Sprintf("%s[%d]", v.key, i), place{node.Line, node.Column}, node))
	}
	return items
}

// parseText returns the text of a value. Every other kind is an error.
func parseText(v value, expected string) (string, error) {
	if v.node.Kind != yaml.ScalarNode || v.node.ShortTag() != "!!str" {
		return "", fmt.Errorf("found %s, expected %s", v.kind(), expected) // a number may be a password
	}
	return v.node.Value, nil
}

func parseBool(v value) (bool, error) {
	const expected = "true or false"
	if v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!bool" {
		result, err := strconv.ParseBool(v.node.Value)
		if err != nil {
			return false, v.unexpected(expected)
		}
		return result, nil
	}
	switch strings.ToLower(v.node.Value) {
	case "yes", "y", "on":
		return false, v.unexpected(expected + "; did you mean `true`?")
	case "no", "n", "off":
		return false, v.unexpected(expected + "; did you mean `false`?")
	case "true", "false":
		return false, v.unexpected(expected + "; remove the quotes")
	}
	return false, v.unexpected(expected)
}

// parseInt reads a whole number.
func parseInt(v value) (int, error) {
	const expected = "a whole number"
	var result int
	if v.node.Kind != yaml.ScalarNode || v.node.ShortTag() != "!!int" || v.node.Decode(&result) != nil {
		return 0, v.unexpected(expected)
	}
	return result, nil
}

// errControl is the error for control characters in a path, name or password.
var errControl = errors.New("found control characters or several lines, expected plain text on one line")

// parseOneOf parses a text that must be one of two.
func parseOneOf(v value, first, second string) (string, error) {
	expected := first + " or " + second
	written, err := parseText(v, expected)
	if err == nil && written != "" && written != first && written != second {
		return "", v.unexpected(expected)
	}
	return written, err
}
