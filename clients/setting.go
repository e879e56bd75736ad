package clients

import (
	"fmt"
	"strings"
)

// setting is an endpoint in a configuration file.
type setting struct {
	key        string
	line       int // from 1
	start, end int // where its value stands, with its quotes if it has any
	endpoint   string
	alone      bool // its line holds nothing else
}

// format finds the endpoints that a file sets, empty ones too, in the order of
// the file. It returns an error for what it can't read or edit with certainty.
type format func(content string) ([]setting, error)

// find returns the setting of a key.
func find(settings []setting, key string) (setting, bool) {
	for _, found := range settings {
		if found.key == key {
			return found, true
		}
	}
	return setting{}, false
}

// replace puts a text where a setting's value stands.
func replace(content string, at setting, text string) string {
	return content[:at.start] + text + content[at.end:]
}

// appendLine and removeLine are each other's reverse: a file without a newline
// at its end has none afterwards.
func appendLine(content, line string) string {
	if content == "" || strings.HasSuffix(content, "\n") {
		return content + line + "\n"
	}
	return content + "\n" + line
}

func removeLine(content string, number int) string {
	lines := strings.SplitAfter(content, "\n")
	before, after := strings.Join(lines[:number-1], ""), strings.Join(lines[number:], "")
	if !strings.HasSuffix(lines[number-1], "\n") {
		before = strings.TrimSuffix(before, "\n")
	}
	return before + after
}

// at says where in a file something is wrong.
func at(line int, key, text string) error {
	return fmt.Errorf("line %d: %s: %s", line, key, text)
}

// quote returns an endpoint in the quotes that a value of YAML had, if any.
func quote(old, endpoint string) string {
	if old == "" || old[0] != '"' && old[0] != '\'' {
		return endpoint
	}
	return old[:1] + endpoint + old[:1]
}
