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

func TestCheckEmptied(t *testing.T) {
	for _, test := range []struct {
		before, after string
		refused       bool
	}{
		{"debug: true", "", true},
		{"address: hub.local", "# only a comment\n", true},
		{"address: hub.local", "{}", true},
		{"address: hub.local", "debug: false", false},
		{"", "# still nothing", false},
		{"", "debug: true", false},
	} {
		before, err := Parse("f", []byte(test.before))
		if err != nil {
			t.Fatal(err)
		}
		after, err := Parse("f", []byte(test.after))
		if err != nil {
			t.Fatal(err)
		}
		if err := before.CheckEmptied(after); (err != nil) != test.refused {
			t.Errorf("%q after %q: got %v, want refused: %t", test.after, test.before, err, test.refused)
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
