package config

import (
	"cmp"
	"time"
)

// Effective is a configuration for programs, with the keys of the file, the defaults applied
// and passwords masked. Durations are written as in the file.
type Effective struct {
	Shim           string              `json:"shim"`
	Runtime        string              `json:"cri"` // empty: detected at start
	Engine         string              `json:"engine"`
	Names          string              `json:"names"`
	Fallback       string              `json:"fallback"`
	Force          bool                `json:"force"`
	Debug          bool                `json:"debug"`
	Metrics        string              `json:"metrics"`
	PProf          bool                `json:"pprof"`
	Timeout        shortened           `json:"timeout"`
	LookupTimeout  shortened           `json:"lookupTimeout"`
	Drain          shortened           `json:"drain"`
	StateDirectory string              `json:"image"`
	ReloadInterval shortened           `json:"reloadInterval"`
	TraceBuffer    string              `json:"traceBuffer"`
	Cache          EffectiveCache      `json:"cache"`
	Registries     []EffectiveRegistry `json:"registries"` // the preferred one first
}

// EffectiveCache is the cache of an [Effective] configuration.
type EffectiveCache struct {
	ImageCacheSize int       `json:"imageCacheSize"`
	ImageCacheTTL  shortened `json:"imageCacheTTL"`
	AbsentTTL      shortened `json:"absentTTL"`
}

// EffectiveRegistry is a registry of an [Effective] configuration.
type EffectiveRegistry struct {
	Address            string   `json:"address"`
	Main               bool     `json:"main"`
	Username           string   `json:"username,omitempty"`
	Password           string   `json:"password,omitempty"` // asterisks; empty: none
	AuthFile           string   `json:"authFile,omitempty"`
	Priority           int      `json:"priority"`
	Match              []string `json:"match,omitempty"`
	Tags               []string `json:"tags,omitempty"`
	Path               string   `json:"path"`
	CA                 string   `json:"ca,omitempty"`
	InsecureSkipVerify bool     `json:"insecureSkipVerify"`
	Fallback           string   `json:"fallback"`
}

// shortened is a duration that is encoded as 15m, not 15m0s.
type shortened time.Duration

func (d shortened) MarshalText() ([]byte, error) { return []byte(ShortDuration(time.Duration(d))), nil }

// Effective returns the configuration for programs.
func (c *Config) Effective() Effective {
	effective := Effective{
		Shim: c.Shim, Runtime: c.Runtime, Engine: c.Engine, Names: c.Names, Fallback: c.Fallback, Force: c.Force, Debug: c.Debug,
		Metrics: c.Metrics, PProf: c.PProf, Timeout: shortened(c.Timeout), LookupTimeout: shortened(c.LookupTimeout),
		Drain: shortened(c.Drain), StateDirectory: c.StateDirectory, ReloadInterval: shortened(c.ReloadInterval), TraceBuffer: formatSize(c.TraceBuffer),
		Cache: EffectiveCache{
			ImageCacheSize: c.Cache.ImageCacheSize,
			ImageCacheTTL:  shortened(c.Cache.ImageCacheTTL),
			AbsentTTL:      shortened(c.Cache.AbsentTTL),
		},
		Registries: []EffectiveRegistry{},
	}
	for _, r := range c.preferredFirst() {
		registry := EffectiveRegistry{
			Address: r.Address, Main: r.Main, Username: r.Username, AuthFile: r.AuthFile, Priority: r.Priority, Match: r.Match, Tags: r.Tags,
			Path: r.Path, CA: r.CA, InsecureSkipVerify: r.InsecureSkipVerify, Fallback: cmp.Or(r.Fallback, c.Fallback),
		}
		if r.Password != "" {
			registry.Password = mask
		}
		effective.Registries = append(effective.Registries, registry)
	}
	return effective
}
