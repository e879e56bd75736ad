package config

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// filePatience is how long an authFile is looked at, which may be on a network.
const filePatience = time.Second

func (c *Config) hasCredentials() bool {
	return slices.ContainsFunc(c.Registries, func(r Registry) bool { return r.Username != "" })
}

// warnOfOpen warns where all users may do something with a file of credentials.
// That a group may is a usual way to share it with who maintains it.
func (c *Config) warnOfOpen(path string, info fs.FileInfo) {
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o007 != 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf(
			"%s: holds credentials and is open to all users (mode %04o), do: chmod o= %s", path, mode.Perm(), path))
	}
}

// warnOfWritable warns where all users may write the configuration itself.
func (c *Config) warnOfWritable(path string, info fs.FileInfo) {
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
		info, err := stat(path)
		if err != nil {
			c.Warnings = append(c.Warnings, fmt.Sprintf("authFile: %v: its registries can't be asked before it can be read", err))
			continue
		}
		c.warnOfOpen(path, info)
	}
}

// stat is [os.Stat], but does not wait for a file that hangs.
func stat(path string) (fs.FileInfo, error) {
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
	case <-time.After(filePatience):
		return nil, fmt.Errorf("%s: no answer within %v", path, filePatience)
	}
}
