package testbed

import (
	"strconv"
	"strings"
)

// logFields parses a line of key=value pairs in the format of logrus: a value with
// special characters is a quoted Go string.
func logFields(line string) map[string]string {
	fields := make(map[string]string)
	for {
		key, rest, found := strings.Cut(line, "=")
		if !found {
			return fields
		}
		value, err := strconv.QuotedPrefix(rest)
		if err == nil {
			rest = rest[len(value):]
			value, _ = strconv.Unquote(value)
		} else {
			value, rest, _ = strings.Cut(rest, " ")
		}
		fields[strings.TrimSpace(key)] = value
		line = rest
	}
}
