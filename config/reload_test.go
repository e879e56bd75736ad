package config

import (
	"slices"
	"testing"
	"time"
)

func TestEqual(t *testing.T) {
	read := func(data string) *Config {
		config, err := Parse("f", []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		return config
	}
	first, again := read("address: hub.local\nauth: a:b"), read("# a comment\naddress: https://hub.local\nauth: \"a:b\"")
	again.Read = time.Now()
	if !first.Equal(again) {
		t.Error("configurations with the same meaning are not equal")
	}
	for _, other := range []string{"address: hub.local\nauth: a:c", "address: hub.local\nauth: a:b\nsync: 1", "registries: [{address: hub.local, auth: a:b}]"} {
		if first.Equal(read(other)) {
			t.Errorf("%q is said to be equal", other)
		}
	}
}

// TestNeedRestart uses full.yaml, in which no key has its default value.
func TestNeedRestart(t *testing.T) {
	defaults := defaults()
	if got, want := defaults.NeedRestart(load(t, "full.yaml")), []string{"shim", "cri", "engine", "names", "image"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := defaults.NeedRestart(&defaults); got != nil {
		t.Errorf("without a change got %q", got)
	}
}
