package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// statTimeout bounds the stat of an authFile, which may be on a network file system.
const statTimeout = time.Second

func (c *Config) hasCredentials() bool {
	return slices.ContainsFunc(c.Registries, func(r Registry) bool { return r.Username != "" })
}

// warnOfOpenFile warns if a file with credentials is open to all users. Group access is
// allowed, since maintainers often share the file that way. about has the file, and for an
// authFile the place of its key.
func (c *Config) warnOfOpenFile(about Message, path string, info fs.FileInfo) {
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o007 != 0 {
		text := fmt.Sprintf("holds credentials and is open to all users (mode %04o); do: chmod o= %s", mode.Perm(), path)
		if path != c.file {
			text = path + " " + text
		}
		c.Warnings = append(c.Warnings, about.withText(text))
	}
}

// warnOfWritableFile warns if all users can write to the configuration.
func (c *Config) warnOfWritableFile(info fs.FileInfo) {
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o002 != 0 {
		c.Warnings = append(c.Warnings, Message{File: c.file}.withText(fmt.Sprintf(
			"every user can change where images come from (mode %04o); do: chmod o-w %s", mode.Perm(), c.file)))
	}
}

func (c *Config) warnOfAuthFiles() {
	seen := map[string]bool{"": true}
	for i, registry := range c.Registries {
		path := registry.AuthFile
		if seen[path] {
			continue
		}
		seen[path] = true
		about := c.about(i, "authFile")
		c.warnOfHiddenFile(about, path)
		info, err := statWithTimeout(path)
		if err != nil {
			c.Warnings = append(c.Warnings, about.withText(fmt.Sprintf(
				"%s can't be read, so its registries can't be asked: %v; create the file or make it readable", path, rootCause(err))))
			continue
		}
		c.warnOfOpenFile(about, path, info)
	}
}

func (c *Config) warnOfAuthorities() {
	seen := map[string]bool{"": true}
	for i, registry := range c.Registries {
		if !seen[registry.CA] {
			seen[registry.CA] = true
			c.warnOfHiddenFile(c.about(i, "ca"), registry.CA)
		}
	}
}

// hiddenFolders are those that ProtectHome=true in the packaged unit hides from the service
// (systemd.exec(5)). Its private /tmp is left out: a shim under another unit may use files there.
var hiddenFolders = []string{"/root", "/home", "/run/user"}

// warnOfHiddenFile warns if the packaged service can't see a file.
func (c *Config) warnOfHiddenFile(about Message, path string) {
	if about.Text = HiddenReason(path); about.Text != "" {
		about.Hint = "move it to /etc/image-cri-shim/"
		c.Warnings = append(c.Warnings, about)
	}
}

// HiddenReason returns the reason why the packaged service can't see a file: it, or the target of a
// symbolic link in its path, is below one of the hidden folders. Otherwise it returns "".
func HiddenReason(path string) string {
	for _, name := range []string{path, resolveWithTimeout(path)} {
		for _, folder := range hiddenFolders {
			if strings.HasPrefix(name, folder+"/") {
				return fmt.Sprintf("the packaged service can't see %s (ProtectHome)", folder)
			}
		}
	}
	return ""
}

// about returns a message without a text about a key of a registry. If the registry's value
// is that of the top level, it is about that one.
func (c *Config) about(registry int, key string) Message {
	path := key
	if !c.Registries[registry].Main {
		index := registry
		if c.Registries[0].Main {
			index--
		}
		path = fmt.Sprintf("registries[%d].%s", index, key)
	}
	at, ok := c.places[path]
	if !ok {
		path = key
		at = c.places[key]
	}
	return Message{File: c.file, Line: at.line, Column: at.column, Key: path}
}

// Problem returns the error for a key of a registry, by its index, if the value turns out to be
// unusable only after parsing. hint says how to correct it.
func (c *Config) Problem(registry int, key string, cause error, hint string) error {
	problem := c.about(registry, key)
	problem.Text, problem.Hint, problem.cause = cause.Error(), hint, cause
	return Problems{problem}
}

// Warning returns a warning about a key of a registry, by its index.
func (c *Config) Warning(registry int, key, text string) Message {
	return c.about(registry, key).withText(text)
}

// statWithTimeout is [os.Stat] with a timeout.
func statWithTimeout(path string) (fs.FileInfo, error) { return withTimeout(os.Stat, path) }

// resolveWithTimeout returns a path without symbolic links, or "" if it does not exist or is not
// resolved in time.
func resolveWithTimeout(path string) string {
	resolved, err := withTimeout(filepath.EvalSymlinks, path)
	if err != nil {
		return ""
	}
	return resolved
}

// withTimeout calls a function of a path and returns its results, unless it takes longer than
// statTimeout.
func withTimeout[T any](call func(string) (T, error), path string) (T, error) {
	var result T
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		result, err = call(path)
	}()
	select {
	case <-done:
		return result, err
	case <-time.After(statTimeout):
		var none T
		return none, fmt.Errorf("%s: no answer within %v", path, statTimeout)
	}
}
