package config

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// trap is a line that YAML reads differently from its appearance, typically a password without
// quotes. text never contains a part of the line's value.
type trap struct {
	place place
	key   string
	text  string
}

// nearestTrap returns the trap that is nearest to the line of an error, but not after last. The
// YAML library often reports the line before or after the mistake. An unclosed quote can be far
// before it.
func (d *document) nearestTrap(line, last int) (nearest trap, ok bool) {
	for i, text := range d.lines[:min(max(last, line+1), len(d.lines))] {
		at := i + 1
		key, column, message := trapOf(text)
		if message == "" || at < line-2 && message != unclosed {
			continue
		}
		if !ok || distance(at, line) <= distance(nearest.place.line, line) {
			nearest, ok = trap{place{at, column}, key, message}, true
		}
	}
	return nearest, ok
}

func distance(a, b int) int { return max(a-b, b-a) }

// lineKeys are the keys of all levels. Only these are shown as the key of a trap, since another
// word before a colon may be part of a password.
var lineKeys = []string{
	"absentTTL", "address", "auth", "authFile", "ca", "cache", "cri", "debug", "drain", "engine", "fallback", "force",
	"image", "imageCacheSize", "imageCacheTTL", "insecureSkipVerify", "lookupTimeout", "match", "metrics", "names",
	"offlinePriority", "password", "path", "pprof", "priority", "registries", "reloadInterval", "sealos", "shim", "tags",
	"timeout", "traceBuffer", "username",
}

// entry matches a line with a key and a value: its indentation, key, colon and value.
var entry = regexp.MustCompile(`^([\s\pZ\x{FEFF}\x{200B}]*(?:- +)*)([a-zA-Z]+)\pZ*([:：])(.*)$`)

const (
	quoteHint = "; quote it: put it in single quotes, and double each ' in it"
	unclosed  = "the value begins with a quote and has no closing one" + quoteHint
)

// trapOf returns the key of a line, its column and the mistake in the line, or "" for a line
// without a mistake.
func trapOf(line string) (key string, column int, text string) {
	parts := entry.FindStringSubmatch(line)
	if parts == nil || !slices.Contains(lineKeys, parts[2]) {
		return "", 0, ""
	}
	indent, key, colon, value := parts[1], parts[2], parts[3], parts[4]
	column = utf8.RuneCountInString(indent) + 1
	switch trimmed := strings.TrimLeft(value, " \t"); {
	case strings.Contains(indent, "\t"):
		return key, column, "the line is indented with a tab; use spaces"
	case odd(indent) != "":
		return key, column, "the line is indented with " + odd(indent) + "; use spaces"
	case colon == "：":
		return key, column, "found a full-width colon (U+FF1A) after the key; type a plain colon and a space"
	case value != "" && trimmed == value:
		if name := odd(string([]rune(value)[:1])); name != "" {
			return key, column, "found " + name + " after the colon; type a plain space"
		}
		return key, column, "found no space after the colon of the key, expected `key: value`"
	default:
		return key, column, trapOfValue(key, strings.TrimRight(trimmed, " \t\r"))
	}
}

// node matches an anchor, an alias or a standard tag.
var node = regexp.MustCompile(`^(?:[*&][0-9A-Za-z_-]+|!![a-z]+)(?:[ \t]|$)`)

var colonAndSpace = regexp.MustCompile(`:(?:[ \t]|$)`)

// junk matches the text after a block scalar's | or > that is not allowed there.
var junk = regexp.MustCompile(`^[|>][-+0-9]*[^-+0-9 ]`)

// trapOfValue returns the mistake in a value that is not quoted, or whose quotes are not
// closed or are followed by more text.
func trapOfValue(key, value string) string {
	if value == "" {
		return ""
	}
	switch first := value[0]; {
	case strings.ContainsRune("@`%", rune(first)):
		return "the value begins with " + value[:1] + ", which YAML reserves" + quoteHint
	case strings.ContainsRune("*&!", rune(first)):
		if slices.Contains(secretKeys, key) && !node.MatchString(value) {
			return "the value begins with " + value[:1] + ", which has a meaning in YAML" + quoteHint
		}
	case strings.ContainsRune("{[", rune(first)):
		closing := string(first + 2) // } and ] are two characters after { and [
		if slices.Contains(secretKeys, key) && !strings.HasSuffix(uncommented(value), closing) {
			return "the value begins with " + value[:1] + ", which begins a list or keys and values in YAML" + quoteHint
		}
	case first == '"' || first == '\'':
		return trapOfQuoted(value)
	case strings.HasPrefix(value, "- ") || strings.HasPrefix(value, "? ") || junk.MatchString(value):
		return "the value begins with " + value[:1] + ", which has a meaning in YAML" + quoteHint
	case colonAndSpace.MatchString(uncommented(value)):
		return "the value has a colon and a space in it" + quoteHint
	}
	return ""
}

var (
	doubleQuoted = regexp.MustCompile(`^"(?:[^"\\]|\\.)*"`)
	singleQuoted = regexp.MustCompile(`^'(?:[^']|'')*'`)
	escapes      = regexp.MustCompile(`\\(?:[0abt\tnvfre "/\\N_LP]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})`)
)

func trapOfQuoted(value string) string {
	quoted := singleQuoted.FindString(value)
	if value[0] == '"' {
		quoted = doubleQuoted.FindString(value)
	}
	if quoted == "" {
		return unclosed
	}
	if rest := strings.TrimSpace(value[len(quoted):]); rest != "" && !strings.HasPrefix(rest, "#") {
		if value[0] == '"' {
			return `found text after the closing quote; write \" for a " in the value, or use single quotes`
		}
		return "found text after the closing quote; double each ' in the value"
	}
	if value[0] == '"' && strings.Contains(escapes.ReplaceAllString(quoted, ""), `\`) {
		return `found an unknown escape (a backslash in double quotes); use single quotes`
	}
	return ""
}

// uncommented returns a value without the comment after it.
func uncommented(value string) string {
	before, _, _ := strings.Cut(value, " #")
	return strings.TrimRight(before, " \t")
}

// comment matches a comment after a value: the space before its # and the character after it.
var comment = regexp.MustCompile(`^([ \t]+)#(.?)`)

// warnOfComment warns of a value that ends before a # which may belong to it, of one that is
// empty because it begins with a #, and of a secret of several lines. A comment after a secret
// causes no warning if two spaces precede its # and one follows it.
func (v value) warnOfComment() {
	if v.alias || v.node.Kind != yaml.ScalarNode || v.node.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		return
	}
	secret := slices.Contains(secretKeys, v.key[strings.LastIndexByte(v.key, '.')+1:])
	rest, ok := strings.CutPrefix(v.document.from(place{v.node.Line, v.node.Column}), v.node.Value)
	if !ok && secret && v.node.Style == 0 && v.node.Anchor == "" {
		v.warn("is continued on the next line; correct the indentation of that line, or quote the value")
	}
	if ok && secret && !v.null() && lastComma.MatchString(rest) {
		v.warn("ends before a comma, which separates keys in {...}; quote the value if the comma belongs to it, else remove the comma")
		return
	}
	parts := comment.FindStringSubmatch(rest)
	if !ok || parts == nil {
		return
	}
	attached := wordStart.MatchString(parts[2]) || secret && strings.TrimSpace(parts[2]) != ""
	switch {
	case v.null() && attached:
		v.warn("has no value, because a # begins a comment; quote the value if it begins with #")
	case attached, secret && !v.null() && (parts[1] == " " || strings.Contains(parts[1], "\t")):
		v.warn("ends before ` #`, which begins a comment; quote the value if the # belongs to it, else write `  # ` before the comment")
	}
}

// lastComma matches a comma behind the last value of {...}.
var lastComma = regexp.MustCompile(`^[ \t]*,[ \t]*\}`)

var wordStart = regexp.MustCompile(`[\pL0-9]`)

// from returns the rest of a line of the file, or "" if there is no such place.
func (d *document) from(at place) string {
	if at.line < 1 || at.line > len(d.lines) {
		return ""
	}
	line := []rune(d.lines[at.line-1])
	if at.column < 1 || at.column > len(line) {
		return ""
	}
	return string(line[at.column-1:])
}

// keyOf returns the key of a line, or "".
func (d *document) keyOf(line int) string {
	parts := entry.FindStringSubmatch(d.from(place{line, 1}))
	if parts == nil || !slices.Contains(lineKeys, parts[2]) {
		return ""
	}
	return parts[2]
}
