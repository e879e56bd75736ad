package config

import (
	"reflect"
	"time"
)

// Equal reports whether two configurations are the same, including their warnings. It ignores
// when they were read and the positions of their keys.
func (c *Config) Equal(other *Config) bool {
	a, b := *c, *other
	a.Read, b.Read = time.Time{}, time.Time{}
	a.places, b.places = nil, nil
	return reflect.DeepEqual(a, b)
}

// CheckEmptied returns an error if next has no keys, and c has some. Such a file is more
// likely truncated by a writer than meant.
func (c *Config) CheckEmptied(next *Config) error {
	if len(next.places) > 0 || len(c.places) == 0 {
		return nil
	}
	return Problems{Message{File: next.file}.withText("is empty, as while it is written; write the keys, or restart the shim for a node without registries")}
}

// NeedRestart returns the changed keys, as spelled in the file, that take effect only after a
// restart.
func (c *Config) NeedRestart(next *Config) (keys []string) {
	for _, key := range []struct {
		name    string
		changed bool
	}{
		{"shim", c.Shim != next.Shim},
		{"cri", c.Runtime != next.Runtime},
		{"engine", c.Engine != next.Engine},
		{"names", c.Names != next.Names},
		{"image", c.StateDirectory != next.StateDirectory},
	} {
		if key.changed {
			keys = append(keys, key.name)
		}
	}
	return keys
}
