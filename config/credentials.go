package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

const loginForm = "user:password, in quotes if necessary"

// readAuth reads credentials, either as user:password or as the keys username and
// password. Its errors and warnings never contain any part of the value.
func (r *Registry) readAuth(v value) {
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
		return "", "", fmt.Errorf("found %s, expected %s", v.kind(), loginForm)
	}
	if strings.ContainsFunc(v.node.Value, unicode.IsControl) {
		return "", "", errControl
	}
	username, password, colon := strings.Cut(v.node.Value, ":")
	if colon && username == "" {
		return "", "", errors.New("found an empty user name, expected " + loginForm)
	}
	return username, password, nil
}

// readLoginKeys reads the keys username and password and trims white space around their
// values.
func readLoginKeys(v value) (username, password string, err error) {
	for i := 0; i < len(v.node.Content); i += 2 {
		if key := v.node.Content[i].Value; key != "username" && key != "password" {
			return "", "", errors.New("found keys and values, expected " + loginForm + ", or the keys username and password")
		}
	}
	v.mapping(keyParsers{
		"username": into(&username, parseLoginPart),
		"password": into(&password, parseLoginPart),
	})
	return username, password, nil
}

func parseLoginPart(v value) (string, error) {
	if v.kind() != "a text" {
		return "", fmt.Errorf("found %s, expected a text, in quotes if necessary", v.kind())
	}
	part := strings.TrimSpace(v.node.Value)
	if strings.ContainsFunc(part, unicode.IsControl) {
		return "", errControl
	}
	return part, nil
}
