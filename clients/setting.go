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
	fullRange  [2]int // of the key and its value; empty if they can't be cut out
}

// format reads and edits one of the forms that files of endpoints have.
type format struct {
	// find returns the endpoints that a file sets, empty ones too, in the order of
	// the file. It returns an error for what it can't read or edit with certainty.
	find func(content string) ([]setting, error)
	// add returns the file with one more endpoint. Nil: none can be added.
	add func(content, key, endpoint string) string
}

// findSetting returns the setting of a key.
func findSetting(settings []setting, key string) (setting, bool) {
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

// appendLine and cutLine are each other's reverse: a file without a newline at its
// end has none afterwards.
func appendLine(content, line string) string {
	if content == "" || strings.HasSuffix(content, "\n") {
		return content + line + "\n"
	}
	return content + "\n" + line
}

// cutLine is where a line stands, from 1, with a newline that goes with it.
func cutLine(content string, number int) [2]int {
	lines := strings.SplitAfter(content, "\n")
	start := len(strings.Join(lines[:number-1], ""))
	end := start + len(lines[number-1])
	if !strings.HasSuffix(lines[number-1], "\n") && start > 0 {
		start--
	}
	return [2]int{start, end}
}

// lineError returns an error with its line and key in a file.
func lineError(line int, key, text string) error {
	return fmt.Errorf("line %d: %s: %s", line, key, text)
}

// quote returns an endpoint in the quotes that a value of YAML had, if any.
func quote(old, endpoint string) string {
	if old == "" || old[0] != '"' && old[0] != '\'' {
		return endpoint
	}
	return old[:1] + endpoint + old[:1]
}
