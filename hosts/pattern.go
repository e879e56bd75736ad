package hosts

import (
	"errors"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Pattern matches the repositories that begin with it, element by element. The first
// element is the host. Each element is a pattern of [path.Match], except that an IPv6
// address in brackets is an address and not a character class.
type Pattern struct {
	text     string
	elements []string // canonical, for path.Match
}

// Repository is the canonical form of a repository with its host.
type Repository struct {
	hosts []string // all spellings that a glob may match
	path  []string
}

// address matches an IPv6 address in brackets, possibly with wildcards, and an optional port.
var address = regexp.MustCompile(`^\[([0-9a-f.*?]*:[0-9a-f:.*?]*)\](:.*)?$`)

// ParsePattern parses a pattern such as docker.io/library, *.gcr.io or [::1]:5000/team.
func (p PlainHTTP) ParsePattern(text string) (Pattern, error) {
	elements := strings.Split(text, "/")
	elements[0] = p.canonicalGlob(elements[0])
	for _, element := range elements {
		if _, err := path.Match(element, ""); err != nil || element == "" {
			return Pattern{}, errors.New("expected elements like docker.io/library or *.gcr.io")
		}
	}
	return Pattern{text: text, elements: elements}, nil
}

// canonicalGlob returns the canonical form of a pattern's host.
func (p PlainHTTP) canonicalGlob(host string) string {
	host = strings.ToLower(host)
	if found := address.FindStringSubmatch(host); found != nil {
		port := strings.TrimPrefix(found[2], ":")
		if IsLiteral(port) {
			_, port = splitPort(p.Canonical(host))
		}
		return join(escapeBrackets(canonicalAddress("["+found[1]+"]")), port)
	}
	if IsLiteral(host) {
		return p.Canonical(host)
	}
	// In a glob, only the port can have several spellings.
	name, port := splitPort(host)
	if port = canonicalPort(port); port == defaultPort("https") {
		port = ""
	}
	return join(name, port)
}

func escapeBrackets(address string) string {
	return strings.NewReplacer("[", `\[`, "]", `\]`).Replace(address)
}

func join(name, port string) string {
	if port == "" {
		return name
	}
	return name + ":" + port
}

// IsLiteral reports whether an element of a pattern has no special characters.
func IsLiteral(element string) bool { return !strings.ContainsAny(element, `*?[\`) }

// IsAddress reports whether the host of a pattern is an IPv6 address in brackets.
func IsAddress(host string) bool { return address.MatchString(strings.ToLower(host)) }

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Elements returns the canonical elements of the pattern, for [path.Match].
func (p Pattern) Elements() []string { return slices.Clone(p.elements) }

// Repository returns the canonical form of a repository, host/path without tag and
// digest. A single element after the host of Docker Hub is an official image.
func (p PlainHTTP) Repository(name string) Repository {
	host, rest, _ := strings.Cut(name, "/")
	host = p.Canonical(host)
	if host == DockerHub && !strings.Contains(rest, "/") {
		rest = "library/" + rest
	}
	return Repository{hosts: p.spellings(host), path: strings.Split(rest, "/")}
}

// Matches reports whether a repository begins with the pattern.
func (p Pattern) Matches(repository Repository) bool {
	if len(p.elements) > 1+len(repository.path) {
		return false
	}
	if !slices.ContainsFunc(repository.hosts, func(host string) bool { return matches(p.elements[0], host) }) {
		return false
	}
	for i, element := range p.elements[1:] {
		if !matches(element, repository.path[i]) {
			return false
		}
	}
	return true
}

func matches(pattern, text string) bool {
	matched, err := path.Match(pattern, text)
	return err == nil && matched
}
