package clients

import (
	"fmt"
	"strings"
)

// setting is an endpoint in a configuration file.
type setting struct {
	key        string
	line       int // from 1
	start, end int // range of its value, including any quotes
	endpoint   string
	fullRange  [2]int // range of the key and its value; empty if they can't be removed
}

// format reads and edits one file format.
type format struct {
	// find returns the endpoints that a file sets, including empty ones, in the order of the
	// file. It returns an error if it can't read or edit the file with certainty.
	find func(content string) ([]setting, error)
	// add returns the content with one more endpoint. It is nil if the format supports no
	// additions.
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

// replace replaces the value of a setting with text.
func replace(content string, at setting, text string) string {
	return content[:at.start] + text + content[at.end:]
}

// appendLine appends a line. cutLine reverses it: a file without a newline at its end has none
// afterwards either.
func appendLine(content, line string) string {
	if content == "" || strings.HasSuffix(content, "\n") {
		return content + line + "\n"
	}
	return content + "\n" + line
}

// cutLine returns the range of a line, numbered from 1, and of the newline to remove with it.
func cutLine(content string, number int) [2]int {
	lines := strings.SplitAfter(content, "\n")
	start := len(strings.Join(lines[:number-1], ""))
	end := start + len(lines[number-1])
	if !strings.HasSuffix(lines[number-1], "\n") && start > 0 {
		start--
	}
	return [2]int{start, end}
}

// lineError returns an error that names a line of a file and a key.
func lineError(line int, key, text string) error {
	return fmt.Errorf("line %d: %s: %s", line, key, text)
}

// quote returns an endpoint in the quotes of the old YAML value, if it has any.
func quote(old, endpoint string) string {
	if old == "" || old[0] != '"' && old[0] != '\'' {
		return endpoint
	}
	return old[:1] + endpoint + old[:1]
}
