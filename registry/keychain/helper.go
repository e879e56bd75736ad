package keychain

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
	helperTTL        = 5 * time.Minute // how long an answer is cached
	helperFailureTTL = time.Minute     // how long a failure is cached if it took at least helperSlow or exceeded the deadline
	helperSlow       = time.Second
	helperLimit      = 64 << 10 // size limit of the output, in bytes
)

// helpers runs the credential helpers of a file and caches their answers. It also caches
// failures that took long; a helper that fails quickly may be run again at once.
// Concurrent calls for one entry share a run.
//
// The keychains of go-containerregistry are not used: they run helpers without a timeout,
// use one file for the whole process, and after a failure either show the output of the
// helper or continue without a login.
type helpers struct {
	mu    sync.Mutex
	known map[helperEntry]*helperRun // cached or in progress
}

// helperRun is one run of a helper. Its result may be read once done is closed.
type helperRun struct {
	done  chan struct{}
	begun time.Time
	login authn.AuthConfig
	err   error
	until time.Time // end of caching; zero while in progress
}

func (r *helperRun) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

func newHelpers() *helpers { return &helpers{known: map[helperEntry]*helperRun{}} }

// forget drops all cached answers and failures.
func (h *helpers) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.known)
}

// get returns the login that a helper returns. It runs the helper unless an answer or a
// failure is cached. It waits at most until ctx is done.
func (h *helpers) get(ctx context.Context, entry helperEntry) (authn.AuthConfig, error) {
	run, begun := h.joinRun(entry)
	if begun {
		run.login, run.err = runHelper(ctx, entry)
		h.end(ctx, entry, run)
	}
	select {
	case <-run.done:
	case <-ctx.Done():
	}
	if !run.ended() {
		return authn.AuthConfig{}, fmt.Errorf("credentials: waiting for helper %q: %w", entry.helper, ctx.Err())
	}
	if run.err != nil {
		return authn.AuthConfig{}, fmt.Errorf("credentials: helper %q %w", entry.helper, run.err)
	}
	return run.login, nil
}

// joinRun returns the run of entry that is cached or in progress. Otherwise it returns a
// new run, which the caller must perform and pass to end.
func (h *helpers) joinRun(entry helperEntry) (run *helperRun, begun bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, ok := h.known[entry]; ok && (known.until.IsZero() || time.Now().Before(known.until)) {
		return known, false
	}
	run = &helperRun{done: make(chan struct{}), begun: time.Now()}
	h.known[entry] = run
	return run, true
}

// end publishes the result of a run. A failure is not cached if the helper failed quickly
// or was canceled.
func (h *helpers) end(ctx context.Context, entry helperEntry, run *helperRun) {
	h.mu.Lock()
	defer h.mu.Unlock()
	slow := time.Since(run.begun) >= helperSlow && ctx.Err() == nil
	switch {
	case run.err == nil:
		run.until = time.Now().Add(helperTTL)
	case slow || errors.Is(ctx.Err(), context.DeadlineExceeded):
		run.until = time.Now().Add(helperFailureTTL)
	case h.known[entry] == run:
		delete(h.known, entry)
	}
	close(run.done)
}

// runHelper runs a helper with the protocol of docker-credential-helpers. The errors do not
// contain output of the helper.
func runHelper(ctx context.Context, entry helperEntry) (authn.AuthConfig, error) {
	if entry.helper == "" || strings.ContainsAny(entry.helper, `/\`) {
		return authn.AuthConfig{}, errors.New("is not a bare name")
	}
	var output boundedBuffer
	command := exec.CommandContext(ctx, "docker-credential-"+entry.helper, "get")
	command.Stdin = strings.NewReader(entry.server)
	command.Stdout = &output
	// Kill the whole process group: children may keep the output open.
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

// boundedBuffer holds the output of a helper. A write beyond helperLimit fails.
type boundedBuffer struct{ buffer bytes.Buffer }

func (l *boundedBuffer) String() string { return l.buffer.String() }
func (l *boundedBuffer) Bytes() []byte  { return l.buffer.Bytes() }

func (l *boundedBuffer) Write(data []byte) (int, error) {
	if l.buffer.Len()+len(data) > helperLimit {
		return 0, io.ErrShortWrite
	}
	return l.buffer.Write(data)
}
