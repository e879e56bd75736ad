package config

import (
	"regexp"
	"strconv"
	"strings"
)

// unsafeText matches the start of text that may be a misplaced secret or that breaks a line:
// white space, a control character, or a colon as in user:password, in either width. A
// semicolon would end the text of a [Message].
var unsafeText = regexp.MustCompile(`[\s\pC\pZ;：]|:[^/0-9]`)

// measure matches numbers with units, such as 3 seconds, which are shown with their spaces.
var measure = regexp.MustCompile(`^[-+]?[0-9][0-9.,]*( ?[a-zA-Z]{1,12})?( [0-9][0-9.,]*( ?[a-zA-Z]{1,12})?)*$`)

// abridge shortens text from the file for a message: to one line of limited length, without
// apparent credentials.
func abridge(text string) string {
	const limit = 60
	short := text
	if at := strings.LastIndexByte(short, '@'); at >= 0 {
		short = "..." + short[at+1:]
	}
	if place := unsafeText.FindStringIndex(short); place != nil && !measure.MatchString(short) {
		short = short[:place[0]] + "..."
	}
	if len(short) > limit {
		short = strings.ToValidUTF8(short[:limit], "") + "..."
	}
	return short
}

func quote(text string) string {
	return strconv.Quote(abridge(text))
}
