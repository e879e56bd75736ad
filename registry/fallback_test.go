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
		{"no setting", "", []registry.Config{main}, "nginx", true},
		{"no setting, image without a name", "", []registry.Config{main}, "", true},
		{"never", never, []registry.Config{main}, "nginx", false},
		{"never, image without a name", never, []registry.Config{main}, "", false},
		{"never, without registries", never, nil, "nginx", false},
		{"never for a matching image", "", []registry.Config{main, strict}, "docker.io/team/app", false},
		{"no match", "", []registry.Config{main, strict}, "quay.io/team/app", true},
		{"excluded image", "", []registry.Config{main, strict}, "docker.io/open/app", true},
		{"registry setting, image without a name", original, []registry.Config{main, strict}, "", true},
		{"the registry of the highest priority decides", never, []registry.Config{strict, lenient}, "nginx", true},
		{"a registry without a match does not decide", original, []registry.Config{strict, lenient}, "docker.io/team/app", false},
		{"tags are ignored", "", []registry.Config{tagged}, "docker.io/team/app:latest", false},
		{"tags are ignored, highest priority decides", never, []registry.Config{tagged, lenient}, "nginx:latest", true},
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
