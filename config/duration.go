package config

import (
	"regexp"
	"strings"
	"time"
)

// parseDuration parses a duration as time.ParseDuration does. It must not be negative.
func parseDuration(v value) (time.Duration, error) {
	const expected = "a duration such as 15m, 30s or 1h30m"
	if v.empty() {
		return 0, nil
	}
	if kind := v.kind(); kind != "a text" && kind != "a number" {
		return 0, v.unexpected(expected)
	}
	result, err := time.ParseDuration(v.node.Value)
	if err != nil {
		if near := nearestDuration(v.node.Value); near != "" && !v.alias {
			return 0, v.unexpected(expected + "; did you mean `" + near + "`?")
		}
		return 0, v.unexpected(expected)
	}
	if result < 0 {
		return 0, v.unexpected(expected + ", not a negative one")
	}
	return result, nil
}

// parseLenientDuration parses a duration of a key of the original program, which treats a
// negative duration as the default.
func parseLenientDuration(v value) (time.Duration, error) {
	if result, err := time.ParseDuration(v.node.Value); err == nil && result < 0 && v.kind() == "a text" {
		v.warn("%s is negative and counts as not set; set a positive duration, or remove it", v.found())
		return 0, nil
	}
	return parseDuration(v)
}

// quantity matches a number with a unit in words, such as 3 seconds.
var quantity = regexp.MustCompile(`^([0-9]{1,6}) *([a-z]*)$`)

// units maps spellings of units to those of Go.
var units = map[string]string{
	"": "s", "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s",
	"m": "m", "min": "m", "mins": "m", "minute": "m", "minutes": "m",
	"h": "h", "hr": "h", "hrs": "h", "hour": "h", "hours": "h",
	"ms": "ms", "msec": "ms", "millisecond": "ms", "milliseconds": "ms",
}

// nearestDuration returns the duration that text probably means in Go's notation, or "".
func nearestDuration(text string) string {
	parts := quantity.FindStringSubmatch(strings.ToLower(text))
	if parts == nil || units[parts[2]] == "" {
		return ""
	}
	return parts[1] + units[parts[2]]
}
