package config

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// defaultPath drops the host that an image name has and keeps its path.
const defaultPath = "{path}"

const (
	patternForm  = "a pattern such as docker.io, docker.io/library, *.gcr.io/team or !docker.io/secret, in lower case"
	tagForm      = "a tag or a pattern of tags such as 1.*, latest or !latest"
	templateForm = "a template such as {path}, {domain}/{path} or mirror/{name}"
)

var (
	placeholder       = regexp.MustCompile(`\{[^{}]*\}`)
	tagCharacters     = regexp.MustCompile(`^[A-Za-z0-9._*?^\[\]\\-]+$`)
	patternCharacters = regexp.MustCompile(`^[a-z0-9._:*?^\[\]\\-]+$`)
)

// patterns reads match: one pattern or a list of them. Each is compared, part
// by part as path.Match does, with the beginning of a canonical repository
// name such as docker.io/library/nginx; a leading ! excludes.
func patterns(v value) ([]string, error) { return each(v, patternForm, pattern), nil }

// each reads one text or a list of them.
func each(v value, form string, read func(value) (string, error)) []string {
	if v.empty() {
		return nil
	}
	list := []value{v}
	if v.node.Kind == yaml.SequenceNode {
		list = v.items(form)
	}
	var result []string
	for _, item := range list {
		read, err := read(item)
		if err != nil {
			item.problem("%s", err)
		} else {
			result = append(result, read)
		}
	}
	return result
}

func pattern(v value) (string, error) {
	written, err := text(v, patternForm)
	if err != nil {
		return "", err
	}
	parts := strings.Split(strings.TrimPrefix(written, "!"), "/")
	for _, part := range parts {
		if _, err := path.Match(part, ""); err != nil || !patternCharacters.MatchString(part) {
			return "", v.unexpected(patternForm)
		}
	}
	if host := parts[0]; host != "localhost" && !strings.ContainsAny(host, ".:*?[") {
		v.warn("%s matches nothing: patterns begin with a host, such as docker.io", quote(written))
	}
	return written, nil
}

// tagPatterns reads tags: one pattern or a list of them, as path.Match has them;
// a leading ! excludes.
func tagPatterns(v value) ([]string, error) { return each(v, tagForm, tagPattern), nil }

func tagPattern(v value) (string, error) {
	written, err := text(v, tagForm)
	if err != nil {
		return "", err
	}
	body := strings.TrimPrefix(written, "!")
	if _, err := path.Match(body, ""); err != nil || !tagCharacters.MatchString(body) {
		return "", v.unexpected(tagForm)
	}
	return written, nil
}

// template reads path: how a repository is called in this registry. {domain}
// is the host of the image's name, {path} the path without it
// (library/nginx), {name} the path's last part (nginx).
func template(v value) (string, error) {
	written, err := text(v, templateForm)
	if err != nil {
		return "", err
	}
	if written == "" {
		return defaultPath, nil
	}
	for _, found := range placeholder.FindAllString(written, -1) {
		switch found {
		case "{domain}", "{path}", "{name}":
		default:
			return "", fmt.Errorf("found the placeholder %s, expected {domain}, {path} or {name}", quote(found))
		}
	}
	if !strings.Contains(written, "{path}") && !strings.Contains(written, "{name}") {
		return "", errors.New("found neither {path} nor {name}, so that all images would be one, expected " + templateForm)
	}
	if !repository.MatchString(placeholder.ReplaceAllString(written, "x")) {
		return "", fmt.Errorf("found %s, expected %s", quote(written), repositoryForm)
	}
	return written, nil
}
