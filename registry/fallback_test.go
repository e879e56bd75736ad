package registry_test

import (
	"strings"
	"testing"

	"github.com/distribution/reference"

	"image-cri-shim/registry"
)

func TestMayFallBack(t *testing.T) {
	const never, original = registry.FallbackNever, registry.FallbackOriginal
	main := registry.Config{Address: "http://main.hub:5000", Priority: 1000}
	strict := registry.Config{Address: "http://strict.hub:5000", Priority: 500, Match: []string{"docker.io", "!docker.io/open"}, Fallback: never}
	tagged := registry.Config{Address: "http://tagged.hub:5000", Priority: 500, Match: []string{"docker.io"}, Tags: []string{"!latest"}, Path: "proxy/{path}", Fallback: never}
	lenient := registry.Config{Address: "http://lenient.hub:5000", Priority: 900, Match: []string{"docker.io/library"}, Fallback: original}
	for _, test := range []struct {
		name       string
		global     registry.Fallback
		registries []registry.Config
		image      string // empty: not a name
		want       bool
	}{
		{"nothing said", "", []registry.Config{main}, "nginx", true},
		{"nothing said of what is no name", "", []registry.Config{main}, "", true},
		{"never", never, []registry.Config{main}, "nginx", false},
		{"never, no name", never, []registry.Config{main}, "", false},
		{"never, without registries", never, nil, "nginx", false},
		{"never for what matches", "", []registry.Config{main, strict}, "docker.io/team/app", false},
		{"not for what doesn't", "", []registry.Config{main, strict}, "quay.io/team/app", true},
		{"not for what is excluded", "", []registry.Config{main, strict}, "docker.io/open/app", true},
		{"not for what is no name", original, []registry.Config{main, strict}, "", true},
		{"the better registry decides", never, []registry.Config{strict, lenient}, "nginx", true},
		{"not where it doesn't stand in", original, []registry.Config{strict, lenient}, "docker.io/team/app", false},
		{"whatever the tags", "", []registry.Config{tagged}, "docker.io/team/app:latest", false},
		{"whatever the tags, of the best", never, []registry.Config{tagged, lenient}, "nginx:latest", true},
		{"a name too long for the registry", "", []registry.Config{tagged}, "docker.io/" + strings.Repeat("a/", 125) + "image", false},
		{"by digest", "", []registry.Config{strict}, "docker.io/team/app@" + digest, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			set := newSet(t, registry.Options{Fallback: test.global, Registries: test.registries})
			var name reference.Named
			if test.image != "" {
				name = parse(t, test.image)
			}
			if got := set.MayFallBack(name); got != test.want {
				t.Errorf("may fall back: %v, want %v", got, test.want)
			}
		})
	}
}
