package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

const (
	helperTTL   = 5 * time.Minute // how long what a helper says counts
	helperLimit = 64 << 10        // of its output, in bytes
)

// helpers runs the credential helpers that a file names, one at a time, and
// remembers what they say. It does so itself because go-containerregistry's
// keychains run them without a bound of time, from one file for the whole
// process, and either show what a failing one prints or go on without a login.
type helpers struct {
	slot chan struct{} // of one: held by the one who runs a helper

	mu    sync.Mutex
	known map[helperEntry]helperAnswer
}

type helperAnswer struct {
	login authn.AuthConfig
	until time.Time
}

func newHelpers() *helpers {
	return &helpers{slot: make(chan struct{}, 1), known: map[helperEntry]helperAnswer{}}
}

// forget drops what the helpers have said.
func (h *helpers) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.known)
}

func (h *helpers) remembered(entry helperEntry) (authn.AuthConfig, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	answer, ok := h.known[entry]
	return answer.login, ok && time.Now().Before(answer.until)
}

// get asks a helper, unless it has been asked lately. It ends with ctx.
func (h *helpers) get(ctx context.Context, entry helperEntry) (authn.AuthConfig, error) {
	select {
	case h.slot <- struct{}{}:
		defer func() { <-h.slot }()
	case <-ctx.Done():
		return authn.AuthConfig{}, fmt.Errorf("credentials: waiting for the helper %q: %w", entry.helper, ctx.Err())
	}
	if login, ok := h.remembered(entry); ok { // from the one who ran it meanwhile
		return login, nil
	}
	login, err := runHelper(ctx, entry)
	if err != nil {
		return authn.AuthConfig{}, fmt.Errorf("credentials: the helper %q %w", entry.helper, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known[entry] = helperAnswer{login, time.Now().Add(helperTTL)}
	return login, nil
}

// runHelper speaks the protocol of docker-credential-helpers. Its errors repeat
// nothing of what the helper prints.
func runHelper(ctx context.Context, entry helperEntry) (authn.AuthConfig, error) {
	if entry.helper == "" || strings.ContainsAny(entry.helper, `/\`) {
		return authn.AuthConfig{}, errors.New("is no bare name")
	}
	var output limited
	command := exec.CommandContext(ctx, "docker-credential-"+entry.helper, "get")
	command.Stdin = strings.NewReader(entry.server)
	command.Stdout = &output
	// With its children, which may keep its output open.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = time.Second
	err := command.Run()
	switch exit, exited := errors.AsType[*exec.ExitError](err); {
	case strings.Contains(output.String(), "credentials not found"):
		return authn.AuthConfig{}, nil
	case ctx.Err() != nil:
		return authn.AuthConfig{}, errors.New("did not answer in time")
	case exited:
		return authn.AuthConfig{}, fmt.Errorf("failed: %v", exit.ProcessState)
	case errors.Is(err, exec.ErrNotFound):
		return authn.AuthConfig{}, errors.New("is not in PATH")
	case err != nil:
		return authn.AuthConfig{}, errors.New("can't be run")
	}
	var said struct{ Username, Secret string }
	if json.Unmarshal(output.Bytes(), &said) != nil {
		return authn.AuthConfig{}, errors.New("printed no credentials")
	}
	if said.Username == "<token>" {
		return authn.AuthConfig{IdentityToken: said.Secret}, nil
	}
	return authn.AuthConfig{Username: said.Username, Password: said.Secret}, nil
}

// limited keeps what a helper prints, up to a bound.
type limited struct{ buffer bytes.Buffer }

func (l *limited) String() string { return l.buffer.String() }
func (l *limited) Bytes() []byte  { return l.buffer.Bytes() }

func (l *limited) Write(data []byte) (int, error) {
	if l.buffer.Len()+len(data) > helperLimit {
		return 0, io.ErrShortWrite
	}
	return l.buffer.Write(data)
}
