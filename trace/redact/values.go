package redact

import (
	"regexp"
	"slices"
	"strings"
)

// Patterns for the text before a secret value. The value starts at the pattern's group, or
// after the match if the pattern has no group. Quotes may be escaped, as in JSON within JSON.
var (
	// secretKey matches the key of a secret in YAML, JSON, a shell or a flag.
	secretKey = regexp.MustCompile(`(?i)[\w.-]*(?:` + secretWords + `)[\w.-]*(?:\\*["']?\s*=\s*|\\*["']?:\s+|\\*["']\s*:\s*)`)
	// secretPair matches a key and a colon, as in a header for curl. It does not match
	// an image's tag.
	secretPair = regexp.MustCompile(`(?i)(?:^|[\s"'{,])[\w-]*(?:` + secretWords + `)[\w-]*:`)
	// secretSetting matches a key in prose. It does not match "token:", which may precede an
	// error message.
	secretSetting = regexp.MustCompile(`(?i)[\w.-]*(?:` + secretWords + `)[\w.-]*(?:\\*["']?\s*=\s*|\\*["']\s*:\s*)|pass(?:word|wd|phrase|code):\s+`)
	// secretOption matches a command's option, also in a JSON list of its words.
	secretOption = regexp.MustCompile(`(?i)--?[\w.-]*(?:` + secretWords + `)[\w.-]*(?:\\*["']?\s+|\\*["']\s*,\s*)`)
	// secretVariable matches a container's variable as Kubernetes writes it.
	secretVariable = regexp.MustCompile(`(?i)(?:` + secretWords + `)[\w.-]*\\*["']?[,\s]\s*\\*["']?value\\*["']?\s*:\s*`)
	// secretStatement matches the SQL before a password.
	secretStatement = regexp.MustCompile(`(?i)(?:pass(?:word|wd|phrase|code)(?:\s+for\s+\S+\s*=)?|\bidentified(?:\s+with\s+\S+)?\s+(?:by|as))[\s(]+()\\*["']`)
	// quotedPassword matches -p before a quoted password.
	quotedPassword = regexp.MustCompile(`(?:^|\s)-p\s*()\\*["']`)
	// userOption matches the user in user:password.
	userOption = regexp.MustCompile(`(?:^|\s)(?:-[uU]\s*|--(?:proxy-)?user(?:=|\s+))()(?:\\*["'][^"':]*|[^\s"':]*):`)
	// assignment matches the name of an environment variable.
	assignment = regexp.MustCompile("(?:^|[\\s;&|(\"'`])[A-Za-z_]\\w*=")
)

// maskValues masks the values after the matches of patterns.
func maskValues(text string, patterns ...*regexp.Regexp) string {
	var starts []int
	for _, pattern := range patterns {
		for _, found := range pattern.FindAllStringSubmatchIndex(text, -1) {
			starts = append(starts, found[len(found)-1])
		}
	}
	slices.Sort(starts)
	return maskValuesAt(text, starts, valueLength)
}

// maskValuesAt masks the values at starts, which must be sorted. It takes linear time, even
// if many values start in one word: unquoted values in a word end together, and quoted
// values end at the next quote of the same kind.
func maskValuesAt(text string, starts []int, length func(text string) int) string {
	var shown strings.Builder
	done, word := 0, 0 // ends of the masked text and of the last unquoted value
	for i, start := range starts {
		quoted := openingQuote.MatchString(text[start:])
		if start < word && !quoted || i > 0 && start == starts[i-1] || done == len(text) {
			continue
		}
		end := start + length(text[start:])
		if end == start {
			continue
		}
		if start >= done {
			shown.WriteString(text[done:start] + mask)
		}
		done = max(done, end)
		if !quoted {
			word = end
		}
	}
	return shown.String() + text[done:]
}

var openingQuote = regexp.MustCompile(`^\\*["']`)

// valueLength returns the length of the value at the start of text: a word or a quoted
// string. A quoted string without a closing quote extends to the end of text.
func valueLength(text string) int {
	opening := openingQuote.FindString(text)
	if opening == "" {
		if end := strings.IndexAny(text, " \t\n\f\r"); end >= 0 {
			return end
		}
		return len(text)
	}
	escapes, quote := len(opening)-1, opening[len(opening)-1]
	backslashes := 0
	for i := len(opening); i < len(text); i++ {
		switch text[i] {
		case '\\':
			backslashes++
			continue
		case quote:
			if isClosingQuote(quote, escapes, backslashes) {
				return i + 1
			}
		}
		backslashes = 0
	}
	return len(text)
}

// isClosingQuote reports whether a quote ends a quoted string or a string around it. The
// opening quote follows escapes backslashes, this quote a number of backslashes. A quote
// within the string is escaped once more, as is each backslash. A shell's single quotes
// have no escapes.
func isClosingQuote(quote byte, escapes, backslashes int) bool {
	if quote == '\'' && escapes == 0 {
		return true
	}
	return backslashes < escapes || (backslashes-escapes)/(escapes+1)%2 == 0
}
