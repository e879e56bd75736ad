package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestTraps requires an error or a warning with line and key, without any part of the password,
// for each spelling of a password that YAML reads as something else.
func TestTraps(t *testing.T) {
	const (
		quoteIt = "; quote it: put it in single quotes, and double each ' in it"
		meaning = ", which has a meaning in YAML" + quoteIt
		number  = "found a number, expected a text; quote it: password: '...'"
		comment = "ends before ` #`, which begins a comment; quote the value if the # belongs to it, else write `  # ` before the comment"
		nothing = "has no value, because a # begins a comment; quote the value if it begins with #"
		none    = "found no password, so an empty one is sent to the registry; add a password"
		anchor  = "found an anchor (&name) that nothing refers to; quote a value that begins with &"
		mistake = "; type it again if this is a mistake"
		escape  = "; in double quotes a backslash begins an escape such as \\n: use single quotes"
	)
	// A password, its errors or warnings below the key password, and those after "auth: admin:".
	// Messages begin with their key; an empty text means that the password is read as written.
	for _, test := range []struct{ password, alone, login string }{
		{"hunter#2: word", "password: the value has a colon and a space in it" + quoteIt, "auth: the value has a colon and a space in it" + quoteIt},
		{"hunter2:", "password: the value has a colon and a space in it" + quoteIt, "auth: the value has a colon and a space in it" + quoteIt},
		{"x #hunter2", "auth.password: " + comment, "auth: " + comment},
		{"x # hunter2", "auth.password: " + comment, "auth: " + comment},
		{"hunter2  # my login", "", ""},
		{"#hunter2", "auth.password: " + nothing + "\nauth: " + none, ""},
		{"@hunter2", "password: the value begins with @, which YAML reserves" + quoteIt, ""},
		{"%hunter2", "password: the value begins with %, which YAML reserves" + quoteIt, ""},
		{"`hunter2`", "password: the value begins with `, which YAML reserves" + quoteIt, ""},
		{"!hunter2", "auth.password: found a YAML tag (a text that begins with ! needs quotes), expected a text; quote it: password: '...'", ""},
		{"!hunter!2", "password: the value begins with !" + meaning, ""},
		{"&hunter2", "auth.password: found an anchor (&name) without a value; quote a value that begins with &", ""},
		{"&hunter2 x", "auth.password: " + anchor, ""},
		{"&hunter@2", "password: the value begins with &" + meaning, ""},
		{"*hunter2", "password: not valid YAML: found an alias (*name) without its anchor (&name); quote a text that begins with *", ""},
		{"*hunter@2", "password: the value begins with *" + meaning, ""},
		{"- hunter2", "password: the value begins with -" + meaning, ""},
		{"? hunter2", "password: the value begins with ?" + meaning, ""},
		{"|hunter2", "password: the value begins with |" + meaning, ""},
		{">hunter2", "password: the value begins with >" + meaning, ""},
		{"{hunter2", "password: the value begins with {, which begins a list or keys and values in YAML" + quoteIt, ""},
		{"[hunter]2", "password: the value begins with [, which begins a list or keys and values in YAML" + quoteIt, ""},
		{"{hunter2}", "auth.password: found keys and values, expected a text; quote it: password: '...'", ""},
		{"[hunter2]", "auth.password: found a list, expected a text; quote it: password: '...'", ""},
		{`"hunter2`, "password: the value begins with a quote and has no closing one" + quoteIt, ""},
		{`'hunter2`, "password: the value begins with a quote and has no closing one" + quoteIt, ""},
		{`'hunter's2'`, "password: found text after the closing quote; double each ' in the value", ""},
		{`"hunter"s2"`, `password: found text after the closing quote; write \" for a " in the value, or use single quotes`, ""},
		{`"hunter\s2"`, "password: found an unknown escape (a backslash in double quotes); use single quotes", ""},
		{`"hunter2\now"`, "auth.password: " + errControl.Error() + escape, ""},
		{"0123", "auth.password: " + number, ""},
		{"1e5", "auth.password: " + number, ""},
		{"0x1F", "auth.password: " + number, ""},
		{"1_000", "auth.password: " + number, ""},
		{".5", "auth.password: " + number, ""},
		{"2020-01-01", "auth.password: found a date, expected a text; quote it: password: '...'", ""},
		{"true", "auth.password: found true or false, expected a text; quote it: password: '...'", ""},
		{"yes", "", ""},
		{"off", "", ""},
		{"<<", "", ""},
		{"=", "", ""},
		{"12:34", "", ""},
		{"null", "auth.password: found null, which means no value; quote it if it is meant as a text\nauth: " + none, ""},
		{"~", "auth.password: found null, which means no value; quote it if it is meant as a text\nauth: " + none, ""},
		{"hunter\t2", "auth.password: found a tab character, expected plain text on one line", "auth: found a tab character, expected plain text on one line"},
		{"hunter2\t", "", ""},
		{"\thunter2", "", "auth: the value has a colon and a space in it" + quoteIt},
		{"hunter\u00a02", "auth.password: contains a no-break space (U+00A0)" + mistake, "auth: contains a no-break space (U+00A0)" + mistake},
		{"hunter2\u00a0", "auth.password: contains a no-break space (U+00A0)" + mistake, "auth: contains a no-break space (U+00A0)" + mistake},
		{"hunter\u200b2", "auth.password: contains a zero-width space (U+200B)" + mistake, "auth: contains a zero-width space (U+200B)" + mistake},
		{"\ufeffhunter2", "auth.password: contains a byte order mark (U+FEFF)" + mistake, "auth: contains a byte order mark (U+FEFF)" + mistake},
		{"“hunter2”", "auth.password: contains a typographic quote (U+201C)" + mistake, "auth: contains a typographic quote (U+201C)" + mistake},
		{"hunter2\r", "", ""},
		{"hunter2, word", "", ""},
		{"hun'ter\"2", "", ""},
	} {
		for form, want := range map[string]string{
			"address: hub.local\nauth:\n  username: admin\n  password: " + test.password + "\ndebug: true\n": test.alone,
			"address: hub.local\n\n\nauth: admin:" + test.password + "\ndebug: true\n":                       test.login,
		} {
			expectMessages(t, form, want)
			crlf := strings.ReplaceAll(form, "\n", "\r\n")
			if !strings.HasSuffix(test.password, "\r") {
				expectMessages(t, crlf, want)
			}
		}
	}
}

// expectMessages requires the messages of a file, each on line 4 with a key, without "hunter".
func expectMessages(t *testing.T, data, want string) {
	t.Helper()
	config, err := Parse("f", []byte(data))
	var messages []Message
	if problems, ok := errors.AsType[Problems](err); ok {
		messages = problems
	} else {
		messages = config.Warnings
	}
	var got []string
	for _, message := range messages {
		if message.Line != 4 && !(message.Line == 2 && message.Key == "auth") {
			t.Errorf("%q: got line %d, want 4: %s", data, message.Line, message)
		}
		text := message.String()
		_, text, _ = strings.Cut(text, ": ")
		got = append(got, text)
		if strings.Contains(text, "hunter") || strings.Contains(text, "2:") {
			t.Errorf("%q: the password is in %s", data, message)
		}
	}
	slices.Sort(got)
	wanted := strings.Split(want, "\n")
	slices.Sort(wanted)
	if strings.Join(got, "\n") != strings.Join(wanted, "\n") {
		t.Errorf("%q\n got %q\nwant %q", data, got, wanted)
	}
}

// TestTrapsOfLines requires the line and key of mistakes before a value, and of values that
// are not passwords.
func TestTrapsOfLines(t *testing.T) {
	for _, test := range []struct{ data, want string }{
		{"debug: true\naddress：http://hub.local\nforce: true\n", "f:2: address: found a full-width colon (U+FF1A) after the key; type a plain colon and a space"},
		{"address：http://hub.local\n", "f:1: address: found a full-width colon (U+FF1A) after the key; type a plain colon and a space"},
		{"debug: true\nauth：admin:hunter2\n", "f:2: auth: found a full-width colon (U+FF1A) after the key; type a plain colon and a space"},
		{"debug: true\nauth：admin: hunter2\n", "f:2: auth: unknown key with a full-width colon (U+FF1A); type it again"},
		{"address: hub.local\nauth: admin：hunter2\n", "f:2: auth: found a full-width colon (U+FF1A), expected user:password with a plain colon"},
		{"debug: true\nauth:\u00a0admin:hunter2\n", "f:2: auth: found a no-break space (U+00A0) after the colon; type a plain space"},
		{"debug: true\n\u00a0auth: admin:hunter2\n", "f:2: auth: unknown key with a no-break space (U+00A0); type it again"},
		{"debug: true\n\ufeffauth: admin:hunter2\n", "f:2: auth: unknown key with a byte order mark (U+FEFF); type it again"},
		{"cache:\n\timageCacheSize: 5\n", "f:2: imageCacheSize: the line is indented with a tab; use spaces"},
		{"debug: true\n  force: true\n", "f:2: not valid YAML: mapping values are not allowed in this context; check the indentation, and quote a value with a colon and a space in it"},
		{"address: hub.local\nauth:\n    username: a\n   password: hunter2\n", "f:3: not valid YAML: did not find expected key; check the indentation of the lines below"},
		{"registries: [{address: hub.local, auth: admin:p,hunter2}]", "f:1: registries[0].auth: is followed by an unknown key, which is not shown; quote a value with a comma in it"},
		{"registries: [{address: hub.local, auth: admin:p,hunter2: x, more: y}]", "f:1: registries[0].auth: is followed by an unknown key, which is not shown; quote a value with a comma in it\nf:1: registries[0].auth: is followed by an unknown key, which is not shown; quote a value with a comma in it"},
		{"address: http：//hub.local", "f:1: address: found the host \"http...\", expected a DNS name, an IPv4 address or an IPv6 address in brackets; the value contains a full-width colon (U+FF1A)"},
		{"shim: \"/run/a.sock\ncri: /run/b.sock\nauth: \"admin:hunter2\"\n", "f:1: shim: the value begins with a quote and has no closing one; quote it: put it in single quotes, and double each ' in it"},
	} {
		_, err := Parse("f", []byte(test.data))
		if err == nil || err.Error() != test.want {
			t.Errorf("%q\n got %v\nwant %s", test.data, err, test.want)
		}
	}
	// A byte order mark in front of the file, and other comments, are no mistakes.
	for _, data := range []string{
		"\ufeffaddress: hub.local\nauth: admin:hunter2\n",
		"address: hub.local # the hub\ncri: # detected\ntimeout: 5s #-----\n",
		"address: hub.local\nauth: # none\n",
		"address: hub.local\nauth: 'admin:hunter2' #mine\n",
	} {
		config, err := Parse("f", []byte(data))
		if err != nil || len(config.Warnings) > 0 {
			t.Errorf("%q: got %v and %q, want no message", data, err, config.Warnings)
		}
	}
	for data, want := range map[string]string{
		"address: hub.local\nimage: /var/lib/a #b\n":         "f:2: image: ends before ` #`",
		"address: hub.local\nauth: admin:hunter\t#\n":        "f:2: auth: ends before ` #`",
		"registries: [{address: a.b, auth: admin:hunter,}]":  "f:1: registries[0].auth: ends before a comma",
		"address: hub.local\nauth: admin:hunter2\n  debug\n": "f:2: auth: is continued on the next line; correct the indentation of that line, or quote the value",
	} {
		config, err := Parse("f", []byte(data))
		if err != nil || len(config.Warnings) != 1 || !strings.HasPrefix(config.Warnings[0].String(), want) {
			t.Errorf("%q: got %v, want the warning %s", data, err, want)
		}
	}
}

// TestLineKeys requires that lineKeys has exactly the keys of all levels.
func TestLineKeys(t *testing.T) {
	keys := []string{"username", "password"}
	for _, data := range []string{"unknown: 1", "registries: [{address: hub.local, unknown: 1}]", "cache: {unknown: 1}", "sealos: {unknown: 1}"} {
		_, err := Parse("f", []byte(data))
		problems, ok := errors.AsType[Problems](err)
		if !ok {
			t.Fatalf("%s: got %v, want an unknown key", data, err)
		}
		keys = append(keys, problems[0].Keys...)
	}
	slices.Sort(keys)
	if keys = slices.Compact(keys); !slices.Equal(keys, lineKeys) {
		t.Errorf("got\n%q, want\n%q", lineKeys, keys)
	}
}
