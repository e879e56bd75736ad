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
	Match              []string // patterns of the images it is asked for; none: all, or its own host's (see OwnHostOnly)
	Tags               []string // patterns of their tags; none: all. Digests are always asked for
	Path               string   // template of the repository path: {domain}, {path}, {name} and literal text
	CA                 string   // absolute path of a PEM file; empty: the system's
	InsecureSkipVerify bool     // the certificate is not verified
	Fallback           string   // for the images that match selects, with any tag; empty: the top level's
	Main               bool     // described by the top level of the file
}

// Format prints only the address, for every verb, so that a registry that is logged by mistake
// does not reveal its password.
func (r Registry) Format(state fmt.State, _ rune) {
	_, _ = io.WriteString(state, r.Address)
}

// parsePriority returns a parser of a priority. Zero means preset.
func parsePriority(preset int) func(value) (int, error) {
	return func(v value) (int, error) {
		result, err := parseInt(v)
		switch {
		case err != nil:
			return 0, err
		case result == 0:
			return preset, nil
		case result < 0:
			v.warn("%s is below 0 and counts as 0; set a priority from 0 to %d", v.found(), highestPriority)
		case result > highestPriority:
			v.warn("%s is above %d and counts as %d; set a priority from 0 to %d", v.found(), highestPriority, highestPriority, highestPriority)
		}
		return min(max(result, 0), highestPriority), nil
	}
}

// The values of fallback, for an image that no registry could serve.
const (
	FallbackOriginal = "original" // pull it from the registry in its name
	FallbackNever    = "never"    // do not contact that registry
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
			v.warn("has no effect without address; set address, or remove it")
		}
	}
}

// addRegistries appends the entries of registries. mainMatch is the match of the main registry.
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
			entry.warn("address, path, match and tags are the same as %s; change or remove this entry", same)
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

// readRegistry parses an entry, and returns it with the value of its match.
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
		set["authFile"].problem("found together with auth, expected only one of them")
	}
	registry.warnOfTLS(set)
	registry.warnOfNames(set["path"])
	registry.warnOfExclusions(set["match"])
	return registry, set["match"]
}

// identity returns the same text for registries with the same address, path, match and tags.
func (r Registry) identity() string {
	return fmt.Sprintf("%q %q %q %q", canonicalAddress(r.Address), r.Path, r.Match, r.Tags)
}

// warnOfTLS warns of TLS keys that have no effect.
func (r Registry) warnOfTLS(set map[string]value) {
	plain := strings.HasPrefix(r.Address, "http://")
	if v, ok := set["ca"]; ok && plain {
		v.warn("has no effect with an http:// address; remove it")
	} else if ok && r.InsecureSkipVerify {
		v.warn("has no effect with insecureSkipVerify; remove one of them")
	}
	if v, ok := set["insecureSkipVerify"]; ok && plain && r.InsecureSkipVerify {
		v.warn("has no effect with an http:// address; remove it")
	}
}
