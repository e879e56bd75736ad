package redact

import (
	"regexp"
	"strings"
)

// Args masks secrets in the words of a command. Like the values of environments, the values
// of variables in a command (NAME=value) are masked.
func Args(words []string) []string {
	shown := make([]string, len(words))
	for i, word := range words {
		if i > 0 && isSecretValue(words[i-1], word) {
			shown[i] = mask
			continue
		}
		shown[i] = redactArg(word)
	}
	return shown
}

// userFlag matches flags that may be followed by user:password.
var userFlag = regexp.MustCompile(`^(?:-[uU]|--(?:proxy-)?user)$`)

// isSecretValue reports whether word is the secret value of the flag before it.
func isSecretValue(flag, word string) bool {
	if !strings.HasPrefix(flag, "-") || strings.Contains(flag, "=") {
		return false
	}
	return flag == "-p" || userFlag.MatchString(flag) && strings.Contains(word, ":") || secretName.MatchString(flag)
}

var (
	// shortWord matches words that none of the other patterns can match.
	shortWord = regexp.MustCompile(`^[A-Za-z0-9._/][A-Za-z0-9._/-]{0,9}$`)
	// findFlag matches flags of find and other commands that start like mysql's -pPASSWORD.
	findFlag = regexp.MustCompile(`^-p(?:ath|erm|id|rint[0f]?|rune)?$`)
)

// redactArg masks secrets in one word of a command, which may be a whole script.
func redactArg(text string) string {
	if len(text) <= 10 && shortWord.MatchString(text) {
		return text
	}
	last := ""
	return mapWords(maskValues(Field(text), secretKey, secretPair, secretOption, secretVariable, secretStatement, quotedPassword, userOption, assignment), func(word string) string {
		before := last
		last = word
		switch {
		case isSecretValue(before, word), looksRandom(word, false):
			return mask
		case strings.HasPrefix(word, "-p") && !findFlag.MatchString(word):
			return "-p" + mask
		}
		return word
	})
}
