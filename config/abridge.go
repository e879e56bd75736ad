package config

import (
	"regexp"
	"strconv"
	"strings"
)

// scheme matches the start of an address. Another word before :// may be a user name, and the
// slashes the beginning of a password.
var scheme = regexp.MustCompile(`^(?i:https?|unix|tcp|npipe)://`)

// unsafeText matches the start of text that may be a misplaced secret or that breaks a line:
// white space, a control character, or a colon as in user:password, in either width. A port
// looks like a password of digits. A semicolon would end the text of a [Message].
var unsafeText = regexp.MustCompile(`[\s\pC\pZ;:：]`)

// measure matches numbers with units, such as 3 seconds, which are shown with their spaces.
var measure = regexp.MustCompile(`^(?i)[-+]?[0-9][0-9.,]*(?: ?` + unit + `)?(?: [0-9][0-9.,]*(?: ?` + unit + `)?)*$`)

const unit = `(?:[a-z]{1,3}|(?:milli|micro)?sec(?:ond)?s?|min(?:ute)?s?|hours?|days?|weeks?|(?:kilo|mega)?bytes?)`

// longNumber matches numbers that fit no key, but may be a misplaced password.
var longNumber = regexp.MustCompile(`^[-+]?[0-9._]{7,}$`)

// abridge shortens text from the file for a message: to one line of limited length, without
// apparent credentials. It must not be used for the values of secretKeys.
func abridge(text string) string {
	const limit = 60
	begin := scheme.FindString(text)
	rest := text[len(begin):]
	if longNumber.MatchString(text) {
		return "..."
	}
	if strings.Contains(rest, "@") { // a password may contain it, too
		return begin + "..."
	}
	if place := unsafeText.FindStringIndex(rest); place != nil && !measure.MatchString(text) {
		rest = rest[:place[0]] + "..."
	}
	short := begin + rest
	if len(short) > limit {
		short = strings.ToValidUTF8(short[:limit], "") + "..."
	}
	return short
}

func quote(text string) string {
	return strconv.Quote(abridge(text))
}
