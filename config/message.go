package config

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Message is an error or a warning about a configuration.
type Message struct {
	File   string   `json:"file"`
	Line   int      `json:"line,omitempty"`   // from 1; 0: unknown
	Column int      `json:"column,omitempty"` // from 1, in characters; 0: unknown
	Key    string   `json:"key,omitempty"`    // dotted path, such as registries[1].priority
	Text   string   `json:"text"`
	Hint   string   `json:"hint,omitempty"` // how to correct it
	Keys   []string `json:"keys,omitempty"` // the valid keys, if the key is unknown
	cause  error
}

// String returns "FILE:LINE: KEY: TEXT; HINT", without the parts that are empty.
func (m Message) String() string {
	place := m.File
	if m.Line > 0 {
		place = fmt.Sprintf("%s:%d", place, m.Line)
	}
	if m.Key != "" {
		place = strings.TrimPrefix(place+": "+m.Key, ": ")
	}
	text := strings.TrimPrefix(place+": "+m.Text, ": ")
	if m.Hint != "" {
		text += "; " + m.Hint
	}
	return text
}

// withText returns m with a text and the hint that follows the last "; " in it. Values in texts
// have no semicolon, see [abridge].
func (m Message) withText(text string) Message {
	m.Text = text
	if at := strings.LastIndex(text, "; "); at >= 0 {
		m.Text, m.Hint = text[:at], text[at+len("; "):]
	}
	return m
}

// Problems is the error for an invalid configuration: each of its problems, in the order of
// the file.
type Problems []Message

// Error returns one line for each problem.
func (p Problems) Error() string { return strings.Join(lines(p), "\n") }

// Unwrap returns the causes of the problems.
func (p Problems) Unwrap() []error {
	var causes []error
	for _, problem := range p {
		if problem.cause != nil {
			causes = append(causes, problem.cause)
		}
	}
	return causes
}

// ProblemsOf returns the problems in err. For another error, it returns one with its text.
func ProblemsOf(file string, err error) Problems {
	if problems, ok := errors.AsType[Problems](err); ok {
		return problems
	}
	return Problems{Message{File: file, Text: strings.TrimPrefix(err.Error(), file+": "), cause: err}}
}

// exampleFile is the example of the configuration in the packages.
const exampleFile = "/usr/share/doc/image-cri-shim/packaging/image-cri-shim.yaml"

// unreadable returns the error for a file that can't be read.
func unreadable(file string, err error) error {
	text := fmt.Sprintf("can't be read: %v", rootCause(err))
	if errors.Is(err, fs.ErrNotExist) {
		text += "; name the configuration with --file, or start from the example " + exampleFile
	}
	return Problems{Message{File: file, cause: err}.withText(text)}
}

// IsUnreadable reports whether err is from [Load] or [Read], for a configuration that can't be
// read.
func IsUnreadable(err error) bool {
	problems, ok := errors.AsType[Problems](err)
	return ok && problems[0].Line == 0 && problems[0].cause != nil
}

func lines(messages []Message) []string {
	var lines []string
	for _, message := range messages {
		lines = append(lines, message.String())
	}
	return lines
}
