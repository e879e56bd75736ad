package registry

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

// authFileLimit bounds a file with credentials, in bytes.
const authFileLimit = 1 << 20

// filePatience is how long a file may take that has been read before. It may be
// on a network that hangs.
const filePatience = time.Second

// authFile is a file with credentials (see [parseLogins]). It is read again when it has
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

// credentials returns what logs in to a registry for a repository of it. It may
// run a helper, until ctx is done.
func (f *authFile) credentials(ctx context.Context, server string, repository reference.Named) (Credentials, error) {
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
	return loginCredentials(login, server), nil
}

// AuthFileProblems returns what can't be used in the registries' files with
// credentials, a line each with the file and the key, without secrets. It reads the
// files, and waits a second for each. A file that is not there is left out.
func (s *Set) AuthFileProblems() []string {
	var problems []string
	seen := map[string]bool{}
	for _, e := range s.endpoints {
		if e.authFile == nil || seen[e.authFile.path] {
			continue
		}
		seen[e.authFile.path] = true
		ctx, cancel := context.WithTimeout(s.lifetime, filePatience)
		l, err := e.authFile.current(ctx)
		cancel()
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			problems = append(problems, err.Error())
		default:
			for _, problem := range l.problems {
				problems = append(problems, fmt.Sprintf("%s: %s", e.authFile.path, problem))
			}
		}
	}
	return problems
}
