package registry

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"image-cri-shim/hosts"
)

// Config is the configuration of one registry. Package config has validated the values.
// New rejects only values that it can't use.
type Config struct {
	Address            string   // http(s)://host[:port][/prefix]; no other scheme is used
	Username, Password string   // empty: anonymous
	AuthFile           string   // used instead of Username and Password: Docker's config.json, .dockercfg, or a Secret with one of them
	Priority           int      // highest first
	Match              []string // patterns of originals; empty: all, or those on its own host if the registry is public
	Tags               []string // patterns of tags; empty: all
	Path               string   // template of the repository; empty: {path}
	CA                 string   // PEM file, trusted in addition to the system's; empty: none
	InsecureSkipVerify bool     // accept any certificate
	Fallback           Fallback // for originals that Match selects, with any tag
}

// Format prints the address without credentials.
func (c Config) Format(state fmt.State, _ rune) {
	address := c.Address
	if strings.Contains(address, "@") {
		address = "an address with credentials"
	}
	_, _ = fmt.Fprint(state, address)
}

// ConfigError is the error for the configuration of a registry that can't be used.
type ConfigError struct {
	Index  int // in the order of [Options]
	Config Config
	Err    error
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("registry %d, %v: %v", e.Index+1, e.Config, e.Err)
}

func (e *ConfigError) Unwrap() error { return e.Err }

// CAError is the error for a file with CA certificates that can't be used.
type CAError struct{ Err error }

func (e *CAError) Error() string { return e.Err.Error() }
func (e *CAError) Unwrap() error { return e.Err }

// Options of a [Set]. Zero values mean the defaults.
type Options struct {
	Registries    []Config      // in the order of the file
	LookupTimeout time.Duration // limit of one lookup in one registry; default 3s
	FoundTTL      time.Duration // how long Found is cached; default 5m
	AbsentTTL     time.Duration // how long Absent is cached; default 30s
	CacheSize     int           // maximum number of cached answers of all registries; default 1024, negative: no cache
	Fallback      Fallback      // for originals without a setting of their registries; default FallbackOriginal

	// OnBreaker, if not nil, is called with the reason when the circuit of a registry
	// opens or closes. Calls for one registry are sequential. It must not wait for a
	// lookup.
	OnBreaker func(registry string, open bool, reason string)

	// OnLookup, if not nil, is called after each lookup in a registry, once for all callers
	// that share the lookup, and for each cached answer. It is called concurrently and must
	// not block.
	OnLookup func(LookupEvent)

	// OnAuthFile, if not nil, is called when a file with credentials can't be read any
	// more and its last good content is used, once for each problem. It must not wait for a
	// lookup.
	OnAuthFile func(error)

	plain hosts.PlainHTTP // hosts of the registries over plain http
}

// plainHosts returns the hosts of the registries over plain http.
func plainHosts(registries []Config) hosts.PlainHTTP {
	plain := hosts.PlainHTTP{}
	for _, r := range registries {
		plain.Add(r.Address)
	}
	return plain
}

const defaultCacheSize = 1024

func (o Options) withDefaults() Options {
	o.LookupTimeout = cmp.Or(o.LookupTimeout, 3*time.Second)
	o.FoundTTL = cmp.Or(o.FoundTTL, 5*time.Minute)
	o.AbsentTTL = cmp.Or(o.AbsentTTL, 30*time.Second)
	o.CacheSize = cmp.Or(o.CacheSize, defaultCacheSize)
	o.plain = plainHosts(o.Registries)
	if o.OnBreaker == nil {
		o.OnBreaker = func(string, bool, string) {}
	}
	if o.OnLookup == nil {
		o.OnLookup = func(LookupEvent) {}
	}
	if o.OnAuthFile == nil {
		o.OnAuthFile = func(error) {}
	}
	return o
}
