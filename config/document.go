package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// problemLimit bounds the number of problems and of warnings that are reported. Without it, the
// error for a file that is not a configuration could be as long as the file.
const problemLimit = 100

// document collects the problems and warnings of one file while it is read.
type document struct {
	file     string
	problems []message
	omitted  int // problems beyond problemLimit
	warnings []message
}

// message is a problem or warning and the line of the file that it concerns.
type message struct {
	line int
	text string
}

// open parses the YAML and returns its top level. On failure it records a problem and returns
// false.
func (d *document) open(data []byte) (root value, ok bool) {
	if len(data) > sizeLimit {
		d.problem(0, "", "is larger than 1 MiB, the limit for a configuration")
		return value{}, false
	}
	first, next, err := decode(data)
	if err != nil {
		d.syntax(err, data)
		return value{}, false
	}
	if next != nil {
		d.problem(next.Line, "", "found a second YAML document (after ---), expected one")
		return value{}, false
	}
	if first == nil {
		first = &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{nullNode}}
	}
	return d.value("", 0, first.Content[0]), true
}

// decode returns the first YAML document of data and the next one; a missing document is nil.
func decode(data []byte) (first, next *yaml.Node, err error) {
	defer func() {
		// The library panics on its internal errors, which malformed input has triggered
		// before.
		if recover() != nil {
			err = errors.New("the YAML parser failed on this file; remove anchors, aliases and tags")
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	documents := [2]*yaml.Node{}
	for i := range documents {
		node := &yaml.Node{}
		if err := decoder.Decode(node); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, nil, err
		}
		documents[i] = node
	}
	return documents[0], documents[1], nil
}

// syntax records an error of the YAML library. Only one of the library's messages quotes the
// file. Since the quote may be a password that begins with "*", another text replaces that
// message.
func (d *document) syntax(err error, data []byte) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if _, quoted, found := strings.Cut(text, "unknown anchor '"); found {
		text = "found an alias (*name) without its anchor (&name); a text that begins with * needs quotes"
		name, _, _ := strings.Cut(quoted, "'")
		if before, _, found := bytes.Cut(data, []byte("*"+name)); found {
			line = bytes.Count(before, []byte("\n")) + 1
		}
	}
	if rest, found := strings.CutPrefix(text, "line "); found {
		number, message, _ := strings.Cut(rest, ": ")
		line, _ = strconv.Atoi(number)
		text = message
	}
	d.problem(line, "", "not valid YAML: "+text)
}

func (d *document) problem(line int, key, text string) {
	if len(d.problems) == problemLimit {
		d.omitted++
		return
	}
	d.problems = append(d.problems, d.message(line, key, text))
}

// message formats "FILE:LINE: key: text"; line 0 and an empty key are left out.
func (d *document) message(line int, key, text string) message {
	place := d.file
	if line > 0 {
		place = fmt.Sprintf("%s:%d", place, line)
	}
	if key != "" {
		place += ": " + key
	}
	return message{line: line, text: place + ": " + text}
}

func (d *document) warn(line int, key, text string) {
	if len(d.warnings) < problemLimit {
		d.warnings = append(d.warnings, d.message(line, key, text))
	}
}

// err joins the problems in the order of their lines.
func (d *document) err() error {
	var all []error
	for _, text := range inLineOrder(d.problems) {
		all = append(all, errors.New(text))
	}
	if d.omitted > 0 {
		all = append(all, fmt.Errorf("%s: and %d more problems", d.file, d.omitted))
	}
	return errors.Join(all...)
}

func inLineOrder(messages []message) []string {
	slices.SortStableFunc(messages, func(a, b message) int { return cmp.Compare(a.line, b.line) })
	var texts []string
	for _, message := range messages {
		texts = append(texts, message.text)
	}
	return texts
}
