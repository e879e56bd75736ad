package config

import (
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"image-cri-shim/hosts"
)

const (
	defaultMainPriority = 1000
	defaultPriority     = 500
	highestPriority     = 10000
)

// Registry is one registry that images may be served from.
type Registry struct {
	Address            string   // scheme://host[:port][/prefix], in lower case, without a closing slash
	Username           string   // empty: none
	Password           string   `json:"-"`
	AuthFile           string   // absolute path of credentials in the form of Docker's config.json; empty: none
	Priority           int      // 0 to 10000, the highest is preferred
	Match              []string // which images it is asked for; none: all, or its own host's (see OwnHostOnly)
	Tags               []string // which tags of these; none: all. Digests always
	Path               string   // template of the repository path: {domain}, {path}, {name} and literal text
	CA                 string   // absolute path of a PEM file; empty: the system's
	InsecureSkipVerify bool     // the certificate is not verified
	Fallback           string   // of the images that match selects, whatever their tags; empty: the top level's
	Main               bool     // described by the top level of the file
}

// Format prints the address, whatever the verb: a registry that is logged by
// mistake does not give its password away.
func (r Registry) Format(state fmt.State, _ rune) {
	_, _ = io.WriteString(state, r.Address)
}

// parsePriority reads a priority; zero means preset.
func parsePriority(preset int) func(value) (int, error) {
	return func(v value) (int, error) {
		result, err := parseInt(v)
		switch {
		case err != nil:
			return 0, err
		case result == 0:
			return preset, nil
		case result < 0:
			v.warn("%d is below 0 and counts as 0", result)
		case result > highestPriority:
			v.warn("%d is above %d and counts as %d", result, highestPriority, highestPriority)
		}
		return min(max(result, 0), highestPriority), nil
	}
}

// What fallback says of an image that no registry could serve.
const (
	FallbackOriginal = "original" // it is pulled from the registry in its name
	FallbackNever    = "never"    // that registry is not contacted
)

func parseFallback(v value) (string, error) { return parseOneOf(v, FallbackOriginal, FallbackNever) }

// addMain appends the registry that the top level describes, if it has an address.
func (c *Config) addMain(main Registry, set map[string]value) {
	if main.Address != "" {
		if main.Username == "" {
			main.AuthFile = c.authFile
		}
		main.warnOfTLS(set)
		main.warnOfNames(set["path"])
		main.warnOfExclusions(set["match"])
		c.Registries = append(c.Registries, main)
		return
	}
	for _, key := range []string{"auth", "offlinePriority", "match", "tags", "path", "ca", "insecureSkipVerify"} {
		if v, ok := set[key]; ok {
			v.warn("has no effect without address")
		}
	}
}

// addRegistries appends the entries of registries. mainMatch is the match of the
// main one.
func (c *Config) addRegistries(entries []value, mainMatch value) {
	var matches []value // of the registries
	first := map[string]string{}
	for _, main := range c.Registries {
		first[main.identity()] = "the top level's"
		matches = append(matches, mainMatch)
	}
	for _, entry := range entries {
		registry, match := readRegistry(entry)
		if registry.Username == "" && registry.AuthFile == "" {
			registry.AuthFile = c.authFile
		}
		c.Registries = append(c.Registries, registry)
		matches = append(matches, match)
		identity := registry.identity()
		if same, ok := first[identity]; ok {
			entry.warn("address, path, match and tags are the same as %s", same)
		} else {
			first[identity] = "those of " + entry.key
		}
	}
	plain := hosts.PlainHTTP{}
	for _, registry := range c.Registries {
		plain.Add(registry.Address)
	}
	var sources []source
	for i, registry := range c.Registries {
		sources = append(sources, registry.sources(matches[i], plain)...)
	}
	warnOfCollisions(sources)
}

// readRegistry returns an entry and its match.
func readRegistry(entry value) (Registry, value) {
	registry := Registry{Priority: defaultPriority, Path: defaultPath}
	set := entry.mapping(keyParsers{
		"address":            into(&registry.Address, parseAddress),
		"auth":               registry.readAuth,
		"authFile":           into(&registry.AuthFile, parseAbsolutePath),
		"priority":           into(&registry.Priority, parsePriority(defaultPriority)),
		"match":              into(&registry.Match, parsePatterns),
		"tags":               into(&registry.Tags, parseTagPatterns),
		"path":               into(&registry.Path, parseTemplate),
		"ca":                 into(&registry.CA, parseAbsolutePath),
		"insecureSkipVerify": into(&registry.InsecureSkipVerify, parseBool),
		"fallback":           into(&registry.Fallback, parseFallback),
	})
	if _, ok := set["address"]; !ok && (entry.null() || entry.node.Kind == yaml.MappingNode) {
		entry.problem("found no address, expected %s", addressForm)
	}
	if registry.Username != "" && registry.AuthFile != "" {
		set["authFile"].problem("found beside auth, expected one of them")
	}
	registry.warnOfTLS(set)
	registry.warnOfNames(set["path"])
	registry.warnOfExclusions(set["match"])
	return registry, set["match"]
}

// identity is equal for registries that would be asked the same.
func (r Registry) identity() string {
	return fmt.Sprintf("%q %q %q %q", canonicalAddress(r.Address), r.Path, r.Match, r.Tags)
}

// warnOfTLS warns of keys about TLS that don't do what they seem to.
func (r Registry) warnOfTLS(set map[string]value) {
	plain := strings.HasPrefix(r.Address, "http://")
	if v, ok := set["ca"]; ok && plain {
		v.warn("has no effect with an http:// address")
	} else if ok && r.InsecureSkipVerify {
		v.warn("has no effect with insecureSkipVerify")
	}
	if v, ok := set["insecureSkipVerify"]; ok && plain && r.InsecureSkipVerify {
		v.warn("has no effect with an http:// address")
	}
}
