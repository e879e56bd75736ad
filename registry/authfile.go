package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"
)

// authFileLimit bounds a file with credentials, in bytes.
const authFileLimit = 1 << 20

// filePatience is how long a file may take that has been read before. It may be
// on a network that hangs.
const filePatience = time.Second

// authFile is a file of Docker's config.json form. It is read again when it has
// changed; while it can't be read, what it last held counts. Its methods may be
// called concurrently.
type authFile struct {
	path    string
	warn    func(error)
	helpers *helpers
	slot    chan struct{} // of one: held by the one who reads the file
	info    fs.FileInfo   // of what was last read; guarded by slot

	mu      sync.Mutex
	logins  *logins // nil before it was read
	problem string  // that was last told
}

func newAuthFile(path string, warn func(error)) *authFile {
	return &authFile{path: path, warn: warn, helpers: newHelpers(), slot: make(chan struct{}, 1)}
}

// logins is what such a file holds. The keys are normalized.
type logins struct {
	auths   map[string]authn.AuthConfig
	helpers map[string]helperEntry
	store   string // the helper for all others
}

// helperEntry is one of credHelpers.
type helperEntry struct{ helper, server string }

// current returns what the file holds, or last held where it can't be read now.
func (f *authFile) current(ctx context.Context) (*logins, error) {
	f.mu.Lock()
	last := f.logins
	f.mu.Unlock()
	if last != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, filePatience)
		defer cancel()
	}
	err := f.refresh(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
		f.problem = ""
	case f.logins == nil:
		return nil, fmt.Errorf("credentials: %w", err)
	case err.Error() != f.problem:
		f.problem = err.Error()
		f.warn(fmt.Errorf("credentials: %w: its last good content counts", err))
	}
	return f.logins, nil
}

// refresh reads the file if it has changed, and waits for that until ctx is done.
// A file that hangs keeps one goroutine, which ends when the file answers.
func (f *authFile) refresh(ctx context.Context) error {
	read := make(chan error, 1)
	select {
	case f.slot <- struct{}{}:
		go func() {
			defer func() { <-f.slot }()
			read <- f.read()
		}()
	case <-ctx.Done():
	}
	select {
	case err := <-read:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s is not read in time: %w", f.path, ctx.Err())
	}
}

func (f *authFile) read() error {
	info, err := os.Stat(f.path) // follows links: Kubernetes swaps them
	if err != nil {
		return err
	}
	if f.info != nil && os.SameFile(info, f.info) && info.Size() == f.info.Size() && info.ModTime().Equal(f.info.ModTime()) {
		return nil
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", f.path)
	}
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // nothing is written
	if info, err = file.Stat(); err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(file, authFileLimit+1))
	if err != nil {
		return err
	}
	if len(data) > authFileLimit {
		return fmt.Errorf("%s is larger than %d bytes", f.path, authFileLimit)
	}
	parsed, err := parseLogins(data)
	if err != nil {
		return fmt.Errorf("%s %w", f.path, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.info, f.logins = info, parsed
	f.helpers.forget()
	return nil
}

// parseLogins reads the content of a file. No error repeats anything of it.
func parseLogins(data []byte) (*logins, error) {
	var content struct {
		Auths       map[string]authn.AuthConfig `json:"auths"`
		CredHelpers map[string]string           `json:"credHelpers"`
		CredsStore  string                      `json:"credsStore"`
	}
	if json.Unmarshal(data, &content) != nil {
		return nil, errors.New("is not of the form of Docker's config.json")
	}
	l := &logins{auths: map[string]authn.AuthConfig{}, helpers: map[string]helperEntry{}, store: content.CredsStore}
	for key, login := range content.Auths {
		l.auths[normalizeKey(key)] = login
	}
	for key, helper := range content.CredHelpers {
		l.helpers[normalizeKey(key)] = helperEntry{helper, key}
	}
	return l, nil
}

// normalizeKey makes host[/path] of a key of such a file, which may also be a
// URL of the registry's API. Docker Hub has several names there.
func normalizeKey(key string) string {
	if _, rest, found := strings.Cut(key, "://"); found {
		key = rest
	}
	key = strings.TrimSuffix(key, "/")
	key = strings.TrimSuffix(strings.TrimSuffix(key, "/v1"), "/v2")
	host, path, nested := strings.Cut(key, "/")
	host = strings.ToLower(host)
	if host == dockerHubIndex || host == dockerHubRegistry {
		host = dockerHub
	}
	if nested {
		return host + "/" + path
	}
	return host
}

// closest returns the entry of the longest key that a repository begins with.
func closest[T any](entries map[string]T, repository string) (entry T, found bool) {
	for key := repository; ; {
		if entry, found = entries[key]; found {
			return entry, true
		}
		slash := strings.LastIndexByte(key, '/')
		if slash < 0 {
			return entry, false
		}
		key = key[:slash]
	}
}

// credentials returns what logs in to a registry for a repository of it. It may
// run a helper, until ctx is done.
func (f *authFile) credentials(ctx context.Context, server string, repository reference.Named) (Credentials, error) {
	l, err := f.current(ctx)
	if err != nil {
		return Credentials{}, err
	}
	login, entry := l.lookUp(repository)
	if entry != (helperEntry{}) {
		if login, err = f.helpers.get(ctx, entry); err != nil {
			return Credentials{}, err
		}
	}
	return loginCredentials(login, server), nil
}

// lookUp returns the login for a repository, or the helper that knows it.
func (l *logins) lookUp(repository reference.Named) (authn.AuthConfig, helperEntry) {
	if entry, found := closest(l.helpers, repository.Name()); found {
		return authn.AuthConfig{}, entry
	}
	login, _ := closest(l.auths, repository.Name())
	if l.store == "" || login != (authn.AuthConfig{}) {
		return login, helperEntry{}
	}
	server := reference.Domain(repository)
	if server == dockerHub {
		server = authn.DefaultAuthKey
	}
	return authn.AuthConfig{}, helperEntry{l.store, server}
}

// loginCredentials keeps the one way to log in that counts: a user name beside
// a token is only for show.
func loginCredentials(login authn.AuthConfig, server string) Credentials {
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
