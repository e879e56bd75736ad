package lookup

import (
	"reflect"
	"testing"
	"time"

	"image-cri-shim/config"
	"image-cri-shim/registry"
)

// TestSetOptions requires that each key of a registry, and each key of the configuration
// that package registry has an option for, reaches the options.
func TestSetOptions(t *testing.T) {
	settings := &config.Config{
		Registries: []config.Registry{{
			Address: "http://hub", Username: "robot", Password: "secret", AuthFile: "/auth.json", Priority: 1,
			Match: []string{"a"}, Tags: []string{"b"}, Path: "{path}", CA: "/ca.pem", InsecureSkipVerify: true, Fallback: "never",
		}},
		LookupTimeout: time.Second,
		Fallback:      "never",
		Cache:         config.Cache{ImageCacheSize: 1, ImageCacheTTL: time.Minute, AbsentTTL: time.Hour},
	}
	var options registry.Options
	setOptions(&options, settings)
	wantNoZero(t, "config.Registry", reflect.ValueOf(settings.Registries[0]), "Main")
	wantNoZero(t, "registry.Config", reflect.ValueOf(options.Registries[0]))
	wantNoZero(t, "registry.Options", reflect.ValueOf(options), "OnBreaker", "OnLookup", "OnAuthFile")
}

// wantNoZero requires that each exported field of a struct is set, but for some: a key that
// is added on one side only is an error.
func wantNoZero(t *testing.T, name string, value reflect.Value, except ...string) {
	t.Helper()
	for field, of := range value.Fields() {
		skip := !field.IsExported()
		for _, other := range except {
			skip = skip || field.Name == other
		}
		if !skip && of.IsZero() {
			t.Errorf("%s.%s is not set", name, field.Name)
		}
	}
}
