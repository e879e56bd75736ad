package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

// socketPathLimit is the longest path of a unix socket in bytes: sun_path of unix(7) without
// its terminating zero.
const socketPathLimit = 107

// detectTimeout bounds the attempt to connect to one socket.
const detectTimeout = time.Second

// runtimeSockets are the well-known sockets of the container runtimes.
var runtimeSockets = []string{
	"/run/containerd/containerd.sock",
	"/var/run/crio/crio.sock",
	"/var/run/cri-dockerd.sock",
}

// parseSocket parses a unix socket: a path, unix:path or unix://path. The path must be
// absolute.
func parseSocket(v value) (string, error) {
	const expected = "an absolute path or unix:///path"
	name, err := parseText(v, expected)
	if err != nil || name == "" {
		return "", err
	}
	path, isURL := strings.CutPrefix(name, "unix:")
	if rest, found := strings.CutPrefix(path, "//"); isURL && found {
		path = rest
	}
	if !filepath.IsAbs(path) {
		return "", v.unexpected(expected)
	}
	if strings.ContainsFunc(path, unicode.IsControl) {
		return "", errControl
	}
	path = filepath.Clean(path)
	if len(path) > socketPathLimit {
		return "", fmt.Errorf("found a path of %d bytes, expected at most %d (the limit of unix sockets)", len(path), socketPathLimit)
	}
	return path, nil
}

// parseAbsolutePath reads the absolute path of a file or folder.
func parseAbsolutePath(v value) (string, error) {
	const expected = "an absolute path"
	path, err := parseText(v, expected)
	if err != nil || path == "" {
		return "", err
	}
	if !filepath.IsAbs(path) {
		return "", v.unexpected(expected)
	}
	if strings.ContainsFunc(path, unicode.IsControl) {
		return "", errControl
	}
	return filepath.Clean(path), nil
}

// DetectRuntime returns the first of the well-known sockets of containerd, CRI-O and
// cri-dockerd that accepts a connection. Each attempt takes at most a second. The error gives
// the reason for each socket.
func DetectRuntime(ctx context.Context) (socket string, err error) {
	return detectRuntime(ctx, runtimeSockets)
}

func detectRuntime(ctx context.Context, candidates []string) (string, error) {
	var tried []string
	for _, path := range candidates {
		err := checkListening(ctx, path)
		if err == nil {
			return path, nil
		}
		tried = append(tried, fmt.Sprintf("%s (%s)", path, err))
	}
	return "", fmt.Errorf("no container runtime answers, tried %s: start one or set `cri` to its socket", strings.Join(tried, ", "))
}

// checkListening returns a short error if no server accepts connections at a path.
func checkListening(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return rootCause(err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return errors.New("not a socket")
	}
	connection, err := (&net.Dialer{Timeout: detectTimeout}).DialContext(ctx, "unix", path)
	if err != nil {
		return rootCause(err)
	}
	return connection.Close()
}

// rootCause returns the innermost error, without the path that wraps it.
func rootCause(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}

// checkSockets adds a problem if the shim's socket would replace that of the runtime.
func (c *Config) checkSockets(set map[string]value) {
	isShim := func(path string) bool { return leadsTo(path, c.Shim) }
	switch {
	case c.Runtime != "" && isShim(c.Runtime):
		set["cri"].problem("found the socket that the shim serves, expected the runtime's socket")
	case c.Runtime == "" && slices.ContainsFunc(runtimeSockets, isShim):
		set["shim"].problem("found the socket of a runtime, expected another path; if the runtime's socket was moved, set `cri` to its path")
	}
}

// leadsTo reports whether a path, or the target of a symbolic link there, is the file at other.
// A symbolic link at other is not followed, because a socket replaces it. The files need not exist.
func leadsTo(path, other string) bool {
	place := func(path string) string {
		folder := cmp.Or(resolveWithTimeout(filepath.Dir(path)), filepath.Dir(path))
		if folder == "/var/run" || strings.HasPrefix(folder, "/var/run/") { // is /run, also where it is missing
			folder = strings.TrimPrefix(folder, "/var")
		}
		return filepath.Join(folder, filepath.Base(path))
	}
	return place(path) == place(other) || resolveWithTimeout(path) == place(other)
}

// ShimSocket returns the path of the socket that the shim serves with the configuration at
// path. In a file with errors, it searches the text for the key shim. If the file can't be read
// or has no such line, it returns the default.
func ShimSocket(path string) string {
	if config, err := Load(path); err == nil {
		return config.Shim
	}
	return searchPath(path, "shim", defaultShim)
}

// StateDirectory returns the path of the state directory, as [ShimSocket] returns that of the
// socket.
func StateDirectory(path string) string {
	if config, err := Load(path); err == nil {
		return config.StateDirectory
	}
	return searchPath(path, "image", defaultStateDirectory)
}

// searchPath returns the first absolute path that a configuration, which may have errors, has
// for a key, or otherwise missing.
func searchPath(file, key, missing string) string {
	opened, err := os.Open(file)
	if err != nil {
		return missing
	}
	defer func() { _ = opened.Close() }() // nothing is written
	content, err := io.ReadAll(io.LimitReader(opened, sizeLimit))
	if err != nil {
		return missing
	}
	line := regexp.MustCompile(`(?m)^\s*` + key + `:\s*["']?(?:unix:(?://)?)?(/[^\s"'#]+)`)
	if match := line.FindSubmatch(content); match != nil {
		return filepath.Clean(string(match[1]))
	}
	return missing
}
