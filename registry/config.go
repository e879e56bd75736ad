package registry

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"image-cri-shim/hosts"
)

// Config is one registry. Its values are valid: package config has checked the file that
// they are from. New refuses only those that it can't use.
type Config struct {
	Address            string   // http(s)://host[:port][/prefix]; only this scheme is ever used
	Username, Password string   // empty: anonymous
	AuthFile           string   // of the form of Docker's config.json or .dockercfg, or a Secret with one, instead of these; empty: none
	Priority           int      // higher is asked first
	Match              []string // patterns of the originals it stands in for; empty: all, or its own host's if it is public
	Tags               []string // patterns of the tags it is asked for; empty: all
	Path               string   // template of the repository; empty: {path}
	CA                 string   // PEM file, trusted in addition to the system's; empty: none
	InsecureSkipVerify bool     // accept any certificate
	Fallback           Fallback // of the originals it stands in for, whatever their tags
}

// Format prints a registry without its password.
func (c Config) Format(state fmt.State, _ rune) {
	address := c.Address
	if strings.Contains(address, "@") {
		address = "an address with credentials"
	}
	_, _ = fmt.Fprint(state, address)
}

// Options of a [Set]. Zero values mean the defaults.
type Options struct {
	Registries    []Config      // in the order of the file
	LookupTimeout time.Duration // of one look-up in one registry; 3s
	FoundTTL      time.Duration // how long Found is remembered; 5m
	AbsentTTL     time.Duration // how long Absent is remembered; 30s
	CacheSize     int           // answers remembered at most, of all registries together; 1024, none where negative
	Fallback      Fallback      // of the originals whose registries say nothing about it; original
	UserAgent     string        // sent to the registries; image-cri-shim

	// OnBreaker, if not nil, is called when a registry's circuit has opened or closed
	// again, with the reason. Calls for one registry come one after another. It must
	// not wait for a look-up.
	OnBreaker func(registry string, open bool, reason string)

	// OnLookup, if not nil, is called after each look-up in a registry, once if several
	// callers share it, and for each answer from the cache. It is called concurrently
	// and must not block.
	OnLookup func(LookupEvent)

	// OnAuthFile, if not nil, is called once when a file with credentials can't be read
	// any more and its last good content counts. It must not wait for a look-up.
	OnAuthFile func(error)

	plain hosts.PlainHTTP // of the registries
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
	o.UserAgent = cmp.Or(o.UserAgent, "image-cri-shim")
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
