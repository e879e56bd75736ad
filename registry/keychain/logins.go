package keychain

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"

	"image-cri-shim/hosts"
	"image-cri-shim/printable"
)

// problemLimit bounds the text of a problem, in bytes.
const problemLimit = 200

// logins is the content of a credentials file. The keys of auths and helpers are
// normalized.
type logins struct {
	auths       map[string]authn.AuthConfig
	helpers     map[string]helperEntry
	globs       []string          // keys of auths and helpers that are patterns
	store       string            // helper for all other registries
	writtenKeys map[string]string // section and normalized key to the key in the file
	problems    []string          // unusable entries, each with its key
}

// helperEntry is an entry of credHelpers: the helper and the server to pass to it.
type helperEntry struct{ helper, server string }

// addConfig adds the content of Docker's config.json. A file without auths, credHelpers
// and credsStore is read as .dockercfg, which has the keys of auths at the top level.
func (l *logins) addConfig(content map[string]json.RawMessage) error {
	var config struct {
		Auths       map[string]json.RawMessage `json:"auths"`
		CredHelpers map[string]string          `json:"credHelpers"`
		CredsStore  string                     `json:"credsStore"`
	}
	for key, into := range map[string]any{"auths": &config.Auths, "credHelpers": &config.CredHelpers, "credsStore": &config.CredsStore} {
		if value, ok := content[key]; ok && json.Unmarshal(value, into) != nil {
			return errLoginForm
		}
	}
	if l.store == "" {
		l.store = config.CredsStore
	}
	for _, key := range sortedKeys(config.CredHelpers) {
		l.addHelper(key, config.CredHelpers[key])
	}
	section := "auths"
	if config.Auths == nil && config.CredHelpers == nil && config.CredsStore == "" {
		config.Auths, section = dockercfgEntries(content), "logins"
		if len(config.Auths) == 0 && len(content) > 0 {
			l.problems = append(l.problems, "contains neither auths nor .dockercfg logins")
		}
	}
	for _, key := range sortedKeys(config.Auths) {
		l.addAuth(section, key, config.Auths[key])
	}
	return nil
}

// sortedKeys returns the keys in the order of precedence: hosts before URLs.
func sortedKeys[T any](entries map[string]T) []string {
	return slices.SortedFunc(maps.Keys(entries), func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Count(a, "://"), strings.Count(b, "://")), cmp.Compare(a, b))
	})
}

// dockercfgEntries returns the top-level entries that have at least one field of a login.
func dockercfgEntries(content map[string]json.RawMessage) map[string]json.RawMessage {
	found := map[string]json.RawMessage{}
	for key, value := range content {
		var fields map[string]json.RawMessage
		if json.Unmarshal(value, &fields) != nil {
			continue
		}
		for _, field := range []string{"auth", "username", "password", "identitytoken", "registrytoken"} {
			if _, ok := fields[field]; ok {
				found[key] = value
			}
		}
	}
	return found
}

// addProblem records an unusable entry. A login that was written into the key is removed.
func (l *logins) addProblem(section, key, text string) {
	if at := strings.LastIndexByte(key, '@'); at >= 0 {
		key = "..." + key[at:]
	}
	l.problems = append(l.problems, printable.Line(fmt.Sprintf("%s[%q]: %s", section, key, text), problemLimit))
}

func (l *logins) addHelper(key, helper string) {
	const section = "credHelpers"
	normalized, err := l.addKey(section, key)
	if err != nil {
		l.addProblem(section, key, err.Error())
		return
	}
	l.helpers[normalized] = helperEntry{helper, key}
	if helper == "" || strings.ContainsAny(helper, `/\`) {
		l.addProblem(section, key, "is not a bare name of a helper")
	}
}

func (l *logins) addAuth(section, key string, encoded json.RawMessage) {
	var login authn.AuthConfig
	if err := json.Unmarshal(encoded, &login); err != nil {
		l.addProblem(section, key, "auth is not user:password in base64")
		return
	}
	login.Password = strings.Trim(login.Password, "\x00") // like Docker
	if !l.holdsLogin(section, key, login) {
		return
	}
	normalized, err := l.addKey(section, key)
	if err != nil {
		l.addProblem(section, key, err.Error())
		return
	}
	l.auths[normalized] = login
	switch {
	case login.IdentityToken != "" || login.RegistryToken != "":
	case login.Password == "":
		l.addProblem(section, key, "the password is empty")
	case strings.ContainsFunc(login.Password, unicode.IsControl):
		l.addProblem(section, key, "the password contains a control character, such as a line break at the end")
	}
}

// holdsLogin reports whether an entry contains a login. An entry without a login does not
// replace another entry; Docker writes an empty entry for a login that a helper stores.
func (l *logins) holdsLogin(section, key string, login authn.AuthConfig) bool {
	if login.IdentityToken != "" || login.RegistryToken != "" || login.Username != "" {
		return true
	}
	normalized, err := normalizeKey(key)
	switch {
	case err != nil:
		l.addProblem(section, key, err.Error())
	case login.Password != "":
		l.addProblem(section, key, "has a password but no user name")
	case l.store == "" && l.helpers[normalized] == (helperEntry{}):
		l.addProblem(section, key, "contains no login")
	}
	return false
}

// addKey returns the normalized form of a key. It returns an error if another key of the
// section has the same normalized form.
func (l *logins) addKey(section, key string) (string, error) {
	normalized, err := normalizeKey(key)
	if err != nil {
		return "", err
	}
	if known, ok := l.writtenKeys[section+normalized]; ok {
		return "", fmt.Errorf("is the same registry as %q, which is used instead", known)
	}
	l.writtenKeys[section+normalized] = key
	if isGlob(normalized) && !slices.Contains(l.globs, normalized) {
		l.globs = append(l.globs, normalized)
		slices.Sort(l.globs)
		slices.Reverse(l.globs) // kubelet's order
	}
	return normalized, nil
}

// lookUp returns the login for a repository, or the helper that stores it. scheme is that
// of the registry's address.
func (l *logins) lookUp(scheme string, repository reference.Named) (authn.AuthConfig, helperEntry) {
	names := lookupNames(scheme, repository)
	if key, name, entry, found := longestMatch(l.helpers, l.globs, names); found {
		if isGlob(key) {
			entry.server, _, _ = strings.Cut(name, "/")
		}
		return authn.AuthConfig{}, entry
	}
	_, _, login, _ := longestMatch(l.auths, l.globs, names)
	if l.store == "" || login != (authn.AuthConfig{}) {
		return login, helperEntry{}
	}
	server, _, _ := strings.Cut(names[0], "/")
	if server == hosts.DockerHub {
		server = authn.DefaultAuthKey
	}
	return authn.AuthConfig{}, helperEntry{l.store, server}
}

// credentialsOf converts a login to credentials. A token takes precedence over a user name,
// which is only informative beside a token.
func credentialsOf(login authn.AuthConfig, server string) Credentials {
	switch {
	case login.RegistryToken != "":
		return Credentials{RegistryToken: login.RegistryToken, ServerAddress: server}
	case login.IdentityToken != "":
		return Credentials{IdentityToken: login.IdentityToken, ServerAddress: server}
	case login.Username != "":
		return Credentials{Username: login.Username, Password: login.Password, ServerAddress: server}
	default:
		return Credentials{}
	}
}
