package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The permitted sizes of TraceBuffer, besides 0: those of package trace.
const (
	minTraceBuffer = 64 << 10
	maxTraceBuffer = 2 << 20
)

// sizePattern matches sizes, also in spellings that are not accepted, such as 1M and 1 mb.
var sizePattern = regexp.MustCompile(`^([0-9]{1,9}) ?([kKmM])i?[bB]?$`)

// parseTraceBuffer parses a size such as 512KiB or 1MiB, or 0. The result is in bytes.
func parseTraceBuffer(v value) (int, error) {
	const expected = "a size from 64KiB to 2MiB, such as 512KiB or 1MiB, or 0 for none"
	if v.empty() {
		return 0, nil
	}
	if kind := v.kind(); kind != "a text" && kind != "a number" {
		return 0, v.unexpected(expected)
	}
	if v.node.Value == "0" {
		return 0, nil
	}
	parts := sizePattern.FindStringSubmatch(v.node.Value)
	if parts == nil {
		return 0, v.unexpected(expected)
	}
	number, err := strconv.Atoi(parts[1])
	if err != nil {
		return 0, v.unexpected(expected)
	}
	unit, bytes := "KiB", number<<10
	if strings.EqualFold(parts[2], "m") {
		unit, bytes = "MiB", number<<20
	}
	switch written := parts[1] + unit; {
	case bytes < minTraceBuffer, bytes > maxTraceBuffer:
		return 0, v.unexpected(expected)
	case v.node.Value != written:
		return 0, v.unexpected(fmt.Sprintf("%s; did you mean `%s`?", expected, written))
	}
	return bytes, nil
}

// formatSize formats a size as parseTraceBuffer accepts it.
func formatSize(bytes int) string {
	switch {
	case bytes == 0:
		return "0"
	case bytes%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", bytes>>20)
	}
	return fmt.Sprintf("%dKiB", bytes>>10)
}
