package config

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// statTimeout bounds the stat of an authFile, which may be on a network file system.
const statTimeout = time.Second

func (c *Config) hasCredentials() bool {
	return slices.ContainsFunc(c.Registries, func(r Registry) bool { return r.Username != "" })
}

// warnOfOpenFile warns if a file with credentials is open to all users. Group access is
// allowed, since maintainers often share the file that way.
func (c *Config) warnOfOpenFile(path string, info fs.FileInfo) {
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o007 != 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf(
			"%s: holds credentials and is open to all users (mode %04o), do: chmod o= %s", path, mode.Perm(), path))
	}
}

// warnOfWritableFile warns if all users can write to the configuration.
func (c *Config) warnOfWritableFile(path string, info fs.FileInfo) {
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o002 != 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf(
			"%s: every user can change where images come from (mode %04o), do: chmod o-w %s", path, mode.Perm(), path))
	}
}

func (c *Config) warnOfAuthFiles() {
	seen := map[string]bool{"": true}
	for _, registry := range c.Registries {
		path := registry.AuthFile
		if seen[path] {
			continue
		}
		seen[path] = true
		info, err := statWithTimeout(path)
		if err != nil {
			c.Warnings = append(c.Warnings, fmt.Sprintf("authFile: create the file or make it readable; until then its registries can't be asked: %v", err))
			continue
		}
		c.warnOfOpenFile(path, info)
	}
}

// statWithTimeout is [os.Stat] with a timeout.
func statWithTimeout(path string) (fs.FileInfo, error) {
	var info fs.FileInfo
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		info, err = os.Stat(path)
	}()
	select {
	case <-done:
		return info, err
	case <-time.After(statTimeout):
		return nil, fmt.Errorf("%s: no answer within %v", path, statTimeout)
	}
}
