// Package keychain reads the credentials for a registry from the files of container tools.
//
//	file := keychain.Open("/root/.docker/config.json", warn)
//	credentials, err := file.Credentials(ctx, "https://hub.example.com", repository)
//
// A file is Docker's config.json, its predecessor .dockercfg, or the manifest of a
// Kubernetes Secret with one of them. An entry is selected by its key as in kubelet: the
// key may be a host or a pattern of hosts, and the longest path wins. Credential helpers
// named in the file are run, and their answers are cached.
//
// The file is read again when it has changed. Errors and problems contain no secrets.
package keychain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
)

const (
	sizeLimit   = 1 << 20     // of a file, in bytes
	readTimeout = time.Second // for a file that has been read before; a network file system may hang
)

// File is a file with credentials. While it can't be read, its last good content is used.
// Methods are safe for concurrent use.
type File struct {
	path    string
	warn    func(error)
	helpers *helpers
	reading chan struct{} // of capacity 1; full while the file is being read
	info    fs.FileInfo   // of the content that was last read; guarded by reading

	mu      sync.Mutex
	logins  *logins // nil until the file has been read
	problem string  // problem of the last call of warn
}

// Open returns the file at path. The file is read when credentials are first needed. warn
// is called once for each problem when the file can't be read any more.
func Open(path string, warn func(error)) *File {
	return &File{path: path, warn: warn, helpers: newHelpers(), reading: make(chan struct{}, 1)}
}

// Path returns the path of the file.
func (f *File) Path() string { return f.path }

// Credentials returns the credentials for a repository of the registry at server
// (scheme://host), or the zero value if the file has none. It may run a credential helper.
func (f *File) Credentials(ctx context.Context, server string, repository reference.Named) (Credentials, error) {
	l, err := f.current(ctx)
	if err != nil {
		return Credentials{}, err
	}
	scheme, _, _ := strings.Cut(server, "://")
	login, entry := l.lookUp(scheme, repository)
	if entry != (helperEntry{}) {
		if login, err = f.helpers.get(ctx, entry); err != nil {
			return Credentials{}, err
		}
	}
	return credentialsOf(login, server), nil
}

// Forget drops the answers of credential helpers, so that they are run again.
func (f *File) Forget() { f.helpers.forget() }

// Problems reads the file and returns its unusable entries: one line each with the path
// and the key. It waits at most one second. A file that does not exist has no problems.
func (f *File) Problems(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	l, err := f.current(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	for _, problem := range l.problems {
		problems = append(problems, fmt.Sprintf("%s: %s", f.path, problem))
	}
	return problems
}

// current returns the content of the file, or its last good content if the file can't be
// read.
func (f *File) current(ctx context.Context) (*logins, error) {
	f.mu.Lock()
	last := f.logins
	f.mu.Unlock()
	if last != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, readTimeout)
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
		f.warn(fmt.Errorf("credentials: %w; using the last good content", err))
	}
	return f.logins, nil
}

// refresh reads the file if it has changed, and waits at most until ctx is done. A read that hangs
// keeps one goroutine, which exits when the read returns.
func (f *File) refresh(ctx context.Context) error {
	read := make(chan error, 1)
	select {
	case f.reading <- struct{}{}:
		go func() {
			defer func() { <-f.reading }()
			read <- f.read()
		}()
	case <-ctx.Done():
	}
	select {
	case err := <-read:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s not read in time: %w", f.path, ctx.Err())
	}
}

func (f *File) read() error {
	info, err := os.Stat(f.path) // follows symbolic links, which Kubernetes replaces
	if err != nil {
		return err
	}
	if f.info != nil && os.SameFile(info, f.info) && info.Size() == f.info.Size() && info.ModTime().Equal(f.info.ModTime()) {
		return nil
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", f.path)
	}
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // read only
	if info, err = file.Stat(); err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(file, sizeLimit+1))
	if err != nil {
		return err
	}
	if len(data) > sizeLimit {
		return fmt.Errorf("%s is larger than %d bytes", f.path, sizeLimit)
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
