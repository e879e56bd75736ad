package config

import (
	"reflect"
	"time"
)

// Equal tells whether two configurations are the same, warnings included, whenever
// they were read.
func (c *Config) Equal(other *Config) bool {
	a, b := *c, *other
	a.Read, b.Read = time.Time{}, time.Time{}
	return reflect.DeepEqual(a, b)
}

// NeedRestart names the keys whose values differ and which a running shim can't
// change, in the file's spelling.
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
