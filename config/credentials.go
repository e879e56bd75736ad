package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

const loginForm = "user:password"

// errUnquoted returns the error for credentials that YAML does not read as a text.
func (v value) errUnquoted(expected, example string) error {
	return fmt.Errorf("found %s, expected %s; quote it: %s", v.kind(), expected, example)
}

// readAuth reads credentials, either as user:password or as the keys username and
// password. Its errors and warnings never contain any part of the value.
func (r *Registry) readAuth(v value) {
	v.checkAnchor()
	if v.null() {
		return
	}
	read := readLogin
	if v.node.Kind == yaml.MappingNode {
		read = readLoginKeys
	}
	username, password, err := read(v)
	switch {
	case err != nil:
		v.problem("%s", err)
		return
	case username == "" && password != "":
		v.problem("found an empty user name, expected %s", loginForm)
		return
	case username != "" && password == "":
		v.warn("found no password, so an empty one is sent to the registry; add a password")
	}
	r.Username, r.Password = username, password
}

// readLogin parses user:password. Text without a colon is a user name without a password.
func readLogin(v value) (username, password string, err error) {
	if v.kind() != "a text" {
		return "", "", v.errUnquoted(loginForm, "auth: 'user:password'")
	}
	if err := checkControl(v); err != nil {
		return "", "", err
	}
	username, password, colon := strings.Cut(v.node.Value, ":")
	switch {
	case colon && username == "":
		return "", "", errors.New("found an empty user name, expected " + loginForm)
	case !colon && strings.Contains(username, "："):
		return "", "", errors.New("found a full-width colon (U+FF1A), expected " + loginForm + " with a plain colon")
	}
	v.warnOfOdd()
	return username, password, nil
}

// readLoginKeys reads the keys username and password and trims white space around their
// values.
func readLoginKeys(v value) (username, password string, err error) {
	for i := 0; i < len(v.node.Content); i += 2 {
		if key := v.node.Content[i].Value; key != "username" && key != "password" {
			return "", "", errors.New("found keys and values, expected " + loginForm + ", or the keys username and password; " +
				"quote user:password if it has a comma, or a space after a colon")
		}
	}
	v.mapping(keyParsers{
		"username": loginPart(&username),
		"password": loginPart(&password),
	})
	return username, password, nil
}

func loginPart(target *string) func(value) {
	return func(v value) {
		v.checkAnchor()
		if v.null() && v.node.Value != "" {
			v.warn("found null, which means no value; quote it if it is meant as a text")
		}
		into(target, parseLoginPart)(v)
	}
}

func parseLoginPart(v value) (string, error) {
	if v.kind() != "a text" {
		return "", v.errUnquoted("a text", v.key[strings.LastIndexByte(v.key, '.')+1:]+": '...'")
	}
	part := strings.TrimSpace(v.node.Value)
	if strings.ContainsFunc(part, unicode.IsControl) {
		return "", checkControl(v)
	}
	v.warnOfOdd()
	return part, nil
}

// checkControl returns an error for control characters.
func checkControl(v value) error {
	switch {
	case !strings.ContainsFunc(v.node.Value, unicode.IsControl):
		return nil
	case v.node.Style&yaml.DoubleQuotedStyle != 0:
		return errors.New(errControl.Error() + `; in double quotes a backslash begins an escape such as \n: use single quotes`)
	case strings.Contains(v.node.Value, "\t"):
		return errors.New("found a tab character, expected plain text on one line")
	}
	return errControl
}

// warnOfOdd warns of credentials with a character that is often typed by mistake.
func (v value) warnOfOdd() {
	if name := odd(v.node.Value); name != "" {
		v.warn("contains %s; type it again if this is a mistake", name)
	}
}

// checkAnchor finds credentials that begin with & and are not quoted. YAML takes the first word
// for an anchor.
func (v value) checkAnchor() {
	if v.alias || v.node.Anchor == "" || v.document.hasAlias(v.node.Anchor) {
		return
	}
	if v.null() {
		v.problem("found an anchor (&name) without a value; quote a value that begins with &")
		return
	}
	v.warn("found an anchor (&name) that nothing refers to; quote a value that begins with &")
}

// hasAlias reports whether the file may refer to an anchor.
func (d *document) hasAlias(anchor string) bool {
	for _, line := range d.lines {
		if strings.Contains(line, "*"+anchor) {
			return true
		}
	}
	return false
}
