package redact

import (
	"regexp"
	"strings"
)

const (
	mask         = "********"
	maxTextBytes = 64 << 10 // longer strings are masked as a whole
)

// secretWords is a pattern for names of secrets: in annotations, flags and keys.
const secretWords = `pass(?:word|wd|phrase|code)?|pwd|secret|token|credential|creds?|auth(?:orization)?|` +
	`(?:api|access|account|private|signing|encryption|ssh|master|shared|client|license)[-_.]?key|cookie|session|jwt|bearer|login|signature|dsn|connection[-_]?string|sas|salt|otp|configuration`

var secretName = regexp.MustCompile(`(?i)(?:` + secretWords + `)|(?:^|[^a-z])keys?(?:$|[^a-z])`)

// credentialPatterns match credentials in any text.
var credentialPatterns = []*regexp.Regexp{
	regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY.*?(?:-----END [A-Z ]*-----|$)`),
	regexp.MustCompile(`(?i:\b(?:basic|bearer|negotiate)\s+)[\w.~+/=-]{8,}`),
	regexp.MustCompile(`\beyJ[\w-]{8,}\.[\w.-]+`), // a JSON Web Token
	regexp.MustCompile(`\b(?:gh[a-z]_|github_pat_|glpat-|xox[a-z]-|AKIA|ASIA|sk-)[\w-]{8,}`),
}

// userInfo matches the user information of a URL, including the slashes before it. A
// password may contain an @.
var userInfo = regexp.MustCompile(`://[^/\s]+@`)

// Field masks substrings that look like credentials in the value of a field that is not
// secret by name, such as an image or a path.
func Field(text string) string {
	if len(text) > maxTextBytes {
		return mask
	}
	for _, pattern := range credentialPatterns {
		text = pattern.ReplaceAllString(text, mask)
	}
	return userInfo.ReplaceAllString(text, "://"+mask+"@")
}

// FreeText masks secrets in prose, such as an error message. It keeps IDs and digests.
func FreeText(text string) string {
	return mapWords(maskValues(Field(text), secretSetting, secretStatement), func(word string) string {
		if looksRandom(word, true) {
			return mask
		}
		return word
	})
}

var wordPattern = regexp.MustCompile(`\S+`)

func mapWords(text string, change func(string) string) string {
	return wordPattern.ReplaceAllStringFunc(text, change)
}

var (
	alphanumeric = regexp.MustCompile(`[A-Za-z0-9+=]{16,}`)
	hexID        = regexp.MustCompile(`^[0-9a-f]{12,}$`)
)

// looksRandom reports whether part of a word looks like a generated secret: a run of 16
// letters and digits, or of 20 capitals. With keepIDs, hexadecimal IDs are not secrets.
func looksRandom(word string, keepIDs bool) bool {
	for _, part := range alphanumeric.FindAllString(word, -1) {
		digits, capitals := strings.ContainsAny(part, "0123456789"), part == strings.ToUpper(part)
		letters := strings.ContainsFunc(part, func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' })
		if keepIDs && hexID.MatchString(part) {
			continue
		}
		if digits && letters || letters && capitals && len(part) >= 20 {
			return true
		}
	}
	return false
}
