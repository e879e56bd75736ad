package trace

import (
	"regexp"
	"strings"
)

const (
	mask        = "********" // stands for what is not shown
	longestText = 64 << 10   // bytes; what is longer is not looked through
)

// secretName finds names of things that should not be shown: of annotations, flags,
// keys in a text.
const secretWords = `pass(?:word|wd|phrase|code)?|pwd|secret|token|credential|creds?|auth(?:orization)?|` +
	`(?:api|access|account|private|signing|encryption|ssh|master|shared|client|license)[-_.]?key|cookie|session|jwt|bearer|login|signature|dsn|connection[-_]?string|sas|salt|otp|configuration`

var secretName = regexp.MustCompile(`(?i)(?:` + secretWords + `)|(?:^|[^a-z])keys?(?:$|[^a-z])`)

// The shapes of secrets in any text.
var shapes = []*regexp.Regexp{
	regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY.*?(?:-----END [A-Z ]*-----|$)`),
	regexp.MustCompile(`(?i:\b(?:basic|bearer|negotiate)\s+)[\w.~+/=-]{8,}`),
	regexp.MustCompile(`\beyJ[\w-]{8,}\.[\w.-]+`), // a JSON Web Token
	regexp.MustCompile(`\b(?:gh[a-z]_|github_pat_|glpat-|xox[a-z]-|AKIA|ASIA|sk-)[\w-]{8,}`),
}

// userInfo is what stands before a URL's host, with the slashes before it. A password
// may have an @ too.
var userInfo = regexp.MustCompile(`://[^/\s]+@`)

// plain is a text that has been declared to be nobody's secret, without what has the
// shape of one.
func plain(text string) string {
	if len(text) > longestText {
		return mask
	}
	for _, shape := range shapes {
		text = shape.ReplaceAllString(text, mask)
	}
	return userInfo.ReplaceAllString(text, "://"+mask+"@")
}

// prose is a text that people read, such as an error. IDs and digests stay.
func prose(text string) string {
	return eachWord(withoutValues(plain(text), secretSetting, secretStatement), func(word string) string {
		if random(word, true) {
			return mask
		}
		return word
	})
}

// noPassword is what begins as a password that mysql takes, but is a word of find's and
// others.
var noPassword = regexp.MustCompile(`^-p(?:ath|erm|id|rint[0f]?|rune)?$`)

// arguments are a command's words as they may be shown. As what is in an environment
// is not, neither is what looks as if it were put there: NAME=value.
func arguments(words []string) []string {
	shown := make([]string, len(words))
	for i, word := range words {
		if i > 0 && secretFlag(words[i-1], word) {
			shown[i] = mask
			continue
		}
		shown[i] = argument(word)
	}
	return shown
}

// user is a flag whose value may have a password behind a colon.
var user = regexp.MustCompile(`^(?:-[uU]|--(?:proxy-)?user)$`)

// secretFlag tells whether a word is the value of a flag before it that looks secret.
func secretFlag(before, word string) bool {
	if !strings.HasPrefix(before, "-") || strings.Contains(before, "=") {
		return false
	}
	return before == "-p" || user.MatchString(before) && strings.Contains(word, ":") || secretName.MatchString(before)
}

// word is too short, and too simple, for any of the patterns here.
var word = regexp.MustCompile(`^[A-Za-z0-9._/][A-Za-z0-9._/-]{0,9}$`)

// argument is one of them; it may be a whole script.
func argument(text string) string {
	if len(text) <= 10 && word.MatchString(text) {
		return text
	}
	last := ""
	return eachWord(withoutValues(plain(text), secretKey, secretPair, secretOption, secretVariable, secretStatement, quotedPassword, login, variable), func(word string) string {
		before := last
		last = word
		switch {
		case secretFlag(before, word), random(word, false):
			return mask
		case strings.HasPrefix(word, "-p") && !noPassword.MatchString(word):
			return "-p" + mask
		}
		return word
	})
}

var spaced = regexp.MustCompile(`\S+`)

func eachWord(text string, change func(string) string) string {
	return spaced.ReplaceAllStringFunc(text, change)
}

var (
	run = regexp.MustCompile(`[A-Za-z0-9+=]{16,}`)
	hex = regexp.MustCompile(`^[0-9a-f]{12,}$`)
)

// random tells whether a word has a part that nobody would write or read: 16 letters
// and digits in a row, or 20 capitals. IDs may be spared.
func random(word string, spareIDs bool) bool {
	for _, part := range run.FindAllString(word, -1) {
		digits, capitals := strings.ContainsAny(part, "0123456789"), part == strings.ToUpper(part)
		letters := strings.ContainsFunc(part, func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' })
		if spareIDs && hex.MatchString(part) {
			continue
		}
		if digits && letters || letters && capitals && len(part) >= 20 {
			return true
		}
	}
	return false
}
