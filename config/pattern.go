package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"image-cri-shim/hosts"
)

// defaultPath drops the host of an image name and keeps its path.
const defaultPath = "{path}"

const (
	patternForm  = "a pattern such as docker.io, docker.io/library, *.gcr.io/team or !docker.io/secret, in lower case"
	tagForm      = "a tag or a pattern of tags such as 1.*, latest or !latest"
	templateForm = "a template such as {path}, {domain}/{path} or mirror/{name}"
)

var (
	placeholder       = regexp.MustCompile(`\{([^{}]*)\}`)
	tagCharacters     = regexp.MustCompile(`^[A-Za-z0-9._*?^\[\]\\-]+$`)
	patternCharacters = regexp.MustCompile(`^[a-z0-9._:*?^\[\]\\-]+$`)
)

// parsePatterns parses match: one pattern or a list of them. For example, docker.io/library
// matches docker.io/library/nginx. Each element of a pattern is compared, as path.Match does,
// with the same element of the canonical repository name. A pattern with a leading ! excludes
// images, and is also compared with the repository in the registry.
func parsePatterns(v value) ([]string, error) { return textOrList(v, patternForm, parsePattern), nil }

// textOrList parses one text or a list of texts with read.
func textOrList(v value, form string, read func(value) (string, error)) []string {
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

func parsePattern(v value) (string, error) {
	written, err := parseText(v, patternForm)
	if err != nil {
		return "", err
	}
	body := strings.TrimPrefix(written, "!")
	parts := strings.Split(body, "/")
	for _, part := range parts {
		if !patternCharacters.MatchString(part) {
			return "", v.unexpected(patternForm)
		}
	}
	if _, err := (hosts.PlainHTTP{}).ParsePattern(body); err != nil {
		return "", v.unexpected(patternForm)
	}
	if reason := matchesNothing(parts); reason != "" {
		v.warn("%s matches nothing: %s", quote(written), reason)
	}
	return written, nil
}

// matchesNothing returns the reason why no image name can match a pattern, or "" if one can.
func matchesNothing(parts []string) string {
	host := parts[0]
	switch {
	case host != "localhost" && !strings.ContainsAny(host, ".:*?["):
		return "patterns begin with a host, such as docker.io"
	case hosts.IsAddress(host) && !strings.ContainsAny(host, "*?"):
		if _, err := netip.ParseAddr(host[1:strings.IndexByte(host, ']')]); err != nil {
			return "the address in brackets is not an IPv6 address"
		}
	case strings.HasPrefix(host, "[") && strings.Contains(host, "::") && !hosts.IsAddress(host):
		return "the address in brackets is not an IPv6 address"
	case hosts.IsLiteral(host):
		name, port, hasPort := strings.Cut(host, ":")
		if !hostname.MatchString(name) {
			return fmt.Sprintf("%s is not a host", quote(name))
		}
		if number, err := strconv.ParseUint(port, 10, 16); hasPort && (err != nil || number == 0) {
			return "its port is not a number from 1 to 65535"
		}
	}
	for _, part := range parts[1:] {
		switch {
		case strings.Contains(part, ":") && !strings.ContainsAny(part, `[\`):
			return "patterns of match have no tag; use the key tags"
		case hosts.IsLiteral(part) && !repository.MatchString(part):
			return fmt.Sprintf("%s can't be a part of a repository", quote(part))
		}
	}
	return ""
}

// parseTagPatterns parses tags: one pattern of path.Match or a list of them. A leading !
// excludes tags.
func parseTagPatterns(v value) ([]string, error) { return textOrList(v, tagForm, parseTagPattern), nil }

func parseTagPattern(v value) (string, error) {
	written, err := parseText(v, tagForm)
	if err != nil {
		return "", err
	}
	body := strings.TrimPrefix(written, "!")
	if _, err := path.Match(body, ""); err != nil || !tagCharacters.MatchString(body) {
		return "", v.unexpected(tagForm)
	}
	return written, nil
}

// parseTemplate parses path, the template of a repository's name in this registry. For
// docker.io/library/nginx, {domain} is docker.io, {path} is library/nginx and {name} is nginx.
func parseTemplate(v value) (string, error) {
	written, err := parseText(v, templateForm)
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
		return "", errors.New("found neither {path} nor {name}, so all images would have the same name, expected " + templateForm)
	}
	expanded := placeholder.ReplaceAllString(written, "$1") // with the shortest names
	if !repository.MatchString(expanded) {
		return "", fmt.Errorf("found %s, expected %s", quote(written), repositoryForm)
	}
	if len(expanded) > templateLimit {
		return "", fmt.Errorf("found a template that makes paths of at least %d characters, expected at most %d", len(expanded), templateLimit)
	}
	return written, nil
}
