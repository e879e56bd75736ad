package trace

import (
	"regexp"
	"slices"
	"strings"
)

// What stands before a value that is not shown. Where a pattern has a group, the value
// begins there; otherwise behind it. Quotes may be escaped, in a text within a text.
var (
	// secretKey is a name that looks secret, as YAML, JSON, a shell or a flag writes it.
	secretKey = regexp.MustCompile(`(?i)[\w.-]*(?:` + secretWords + `)[\w.-]*(?:\\*["']?\s*=\s*|\\*["']?:\s+|\\*["']\s*:\s*)`)
	// secretPair is one with a colon, as curl takes a header; an image has a tag there.
	secretPair = regexp.MustCompile(`(?i)(?:^|[\s"'{,])[\w-]*(?:` + secretWords + `)[\w-]*:`)
	// secretSetting is one in a text with sentences, in which a token is followed by a colon
	// and what is wrong with it.
	secretSetting = regexp.MustCompile(`(?i)[\w.-]*(?:` + secretWords + `)[\w.-]*(?:\\*["']?\s*=\s*|\\*["']\s*:\s*)|pass(?:word|wd|phrase|code):\s+`)
	// secretOption is one of a command's, or of a list of its words.
	secretOption = regexp.MustCompile(`(?i)--?[\w.-]*(?:` + secretWords + `)[\w.-]*(?:\\*["']?\s+|\\*["']\s*,\s*)`)
	// secretVariable is one of a container's, as Kubernetes writes it.
	secretVariable = regexp.MustCompile(`(?i)(?:` + secretWords + `)[\w.-]*\\*["']?[,\s]\s*\\*["']?value\\*["']?\s*:\s*`)
	// secretStatement sets a password in SQL.
	secretStatement = regexp.MustCompile(`(?i)(?:pass(?:word|wd|phrase|code)(?:\s+for\s+\S+\s*=)?|\bidentified(?:\s+with\s+\S+)?\s+(?:by|as))[\s(]+()\\*["']`)
	// quotedPassword is one with blanks; one without them is a word.
	quotedPassword = regexp.MustCompile(`(?:^|\s)-p\s*()\\*["']`)
	// login is a user with a password.
	login = regexp.MustCompile(`(?:^|\s)(?:-[uU]\s*|--(?:proxy-)?user(?:=|\s+))()(?:\\*["'][^"':]*|[^\s"':]*):`)
	// variable is one that is put into an environment.
	variable = regexp.MustCompile("(?:^|[\\s;&|(\"'`])[A-Za-z_]\\w*=")
)

// withoutValues masks the values behind what any of some patterns find.
func withoutValues(text string, before ...*regexp.Regexp) string {
	var starts []int
	for _, pattern := range before {
		for _, found := range pattern.FindAllStringSubmatchIndex(text, -1) {
			starts = append(starts, found[len(found)-1])
		}
	}
	slices.Sort(starts)
	return withoutValuesAt(text, starts, valueLength)
}

// withoutValuesAt looks at no part of a text again and again, however many values begin
// there: those in one word end where it does, and quotes end at the next of their kind.
func withoutValuesAt(text string, starts []int, length func(text string) int) string {
	var shown strings.Builder
	done, word := 0, 0 // where what is masked ends, and the last value without quotes
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

// valueLength is the length of the value at the beginning of a text: a word, or what is
// in quotes. Quotes that are not closed hold all that follows.
func valueLength(text string) int {
	opening := openingQuote.FindString(text)
	if opening == "" {
		if end := strings.IndexAny(text, " \t\n\f\r"); end >= 0 {
			return end
		}
		return len(text)
	}
	escapes, quote := len(opening)-1, opening[len(opening)-1]
	found := 0 // backslashes
	for i := len(opening); i < len(text); i++ {
		switch text[i] {
		case '\\':
			found++
			continue
		case quote:
			if closes(quote, escapes, found) {
				return i + 1
			}
		}
		found = 0
	}
	return len(text)
}

// closes tells whether a quote behind some backslashes is the end of what began with
// one behind escapes of them, or of a text around it. One within it is escaped once more,
// as is each backslash; a shell's single quotes have neither.
func closes(quote byte, escapes, found int) bool {
	if quote == '\'' && escapes == 0 {
		return true
	}
	return found < escapes || (found-escapes)/(escapes+1)%2 == 0
}
