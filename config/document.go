package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// problemLimit bounds the number of problems and of warnings that are reported. Without it, the
// error for a file that is not a configuration could be as long as the file.
const problemLimit = 100

// lineBreak matches the line breaks of YAML.
var lineBreak = regexp.MustCompile(`\r\n|[\r\n\x{85}\x{2028}\x{2029}]`)

// document collects the problems and warnings of one file while it is read.
type document struct {
	file     string
	lines    []string // the text of the file
	problems []Message
	omitted  int // problems beyond problemLimit
	warnings []Message
	places   map[string]place // of the keys, by dotted path
}

// place is a position in the file. Both numbers begin at 1; 0 means unknown.
type place struct{ line, column int }

// open parses the YAML and returns its top level. On failure it records a problem and returns
// false.
func (d *document) open(data []byte) (root value, ok bool) {
	if len(data) > sizeLimit {
		d.problem(place{}, "", "is larger than 1 MiB, the limit for a configuration")
		return value{}, false
	}
	d.lines = lineBreak.Split(string(data), -1)
	first, next, err := decode(data)
	if err != nil {
		d.syntax(err, data)
		return value{}, false
	}
	if next != nil {
		d.problem(place{next.Line, next.Column}, "", "found a second YAML document (after ---), expected one")
		return value{}, false
	}
	if first == nil {
		first = &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{nullNode}}
	}
	return d.value("", place{}, first.Content[0]), true
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

// syntax records an error of the YAML library, or the mistake in a line that explains it. Only
// one of the library's messages quotes the file. Since the quote may be a password that begins
// with "*", another text replaces that message.
func (d *document) syntax(err error, data []byte) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line, key := 0, ""
	if _, quoted, found := strings.Cut(text, "unknown anchor '"); found {
		text = "found an alias (*name) without its anchor (&name); quote a text that begins with *"
		name, _, _ := strings.Cut(quoted, "'")
		if before, _, found := bytes.Cut(data, []byte("*"+name)); found {
			line = bytes.Count(before, []byte("\n")) + 1
			key = d.keyOf(line)
		}
	}
	if rest, found := strings.CutPrefix(text, "line "); found {
		number, message, _ := strings.Cut(rest, ": ")
		line, _ = strconv.Atoi(number)
		text = message
	}
	last := 0
	if strings.HasPrefix(text, "did not find expected key") || strings.HasPrefix(text, "did not find expected '-'") {
		last = len(d.lines) // the reported line is the first one of the block
	}
	if t, ok := d.nearestTrap(max(line, 1), last); ok && key == "" {
		d.problem(t.place, t.key, t.text)
		return
	}
	switch {
	case last > 0:
		text += "; check the indentation of the lines below"
	case strings.Contains(text, "mapping values are not allowed"):
		text += "; check the indentation, and quote a value with a colon and a space in it"
	}
	d.problem(place{line: line}, key, "not valid YAML: "+text)
}

func (d *document) problem(at place, key, text string) {
	d.add(d.message(at, key, text))
}

func (d *document) add(problem Message) {
	if len(d.problems) == problemLimit {
		d.omitted++
		return
	}
	d.problems = append(d.problems, problem)
}

func (d *document) message(at place, key, text string) Message {
	return Message{File: d.file, Line: at.line, Column: at.column, Key: key}.withText(text)
}

func (d *document) warn(at place, key, text string) {
	if len(d.warnings) < problemLimit {
		d.warnings = append(d.warnings, d.message(at, key, text))
	}
}

// err returns the problems in the order of their lines.
func (d *document) err() error {
	if len(d.problems) == 0 {
		return nil
	}
	all := Problems(inLineOrder(d.problems))
	if d.omitted > 0 {
		all = append(all, Message{File: d.file, Text: fmt.Sprintf("and %d more problems", d.omitted)})
	}
	return all
}

func inLineOrder(messages []Message) []Message {
	slices.SortStableFunc(messages, func(a, b Message) int { return cmp.Compare(a.Line, b.Line) })
	return messages
}
