package registry_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"image-cri-shim/registry"
)

func TestRuleResults(t *testing.T) {
	set := newSet(t, registry.Options{Registries: []registry.Config{
		{Address: "http://plain.example.com"},
		{Address: "http://matching.example.com", Match: []string{"quay.io", "docker.io/library", "docker.io"}, Priority: 900},
		{Address: "http://excluding.example.com", Match: []string{"docker.io", "!*.io/library"}, Priority: 800},
		{Address: "http://other.example.com", Match: []string{"quay.io"}, Priority: 700},
		{Address: "http://notag.example.com", Tags: []string{"!1.*"}, Priority: 600},
		{Address: "http://tags.example.com", Tags: []string{"2.*"}, Priority: 500},
		{Address: "http://own.example.com", Match: []string{"quay.io"}},
		{Address: "http://own.example.com/prefix", Match: []string{"quay.io"}},
		{Address: "https://docker.io", Path: "{name}", Match: []string{"quay.io"}},
	}})
	for _, test := range []struct {
		image string
		want  []string // results of all registries, highest priority first
	}{
		{"nginx:1.25", []string{
			"matching is asked: match docker.io/library",
			"excluding is not asked: match excludes !*.io/library",
			"other is not asked: no pattern in match",
			"notag is not asked: tags exclude !1.*",
			"tags is not asked: no pattern in tags",
			"plain is asked: all images",
		}},
		{"nginx@" + digest, []string{
			"matching is asked: match docker.io/library",
			"notag is asked: all images",
			"tags is asked: all images",
		}},
		{"own.example.com/prefix/app:1", []string{
			"own/prefix is asked: its own host",
			"own is not asked: another registry has the same reference",
		}},
		{"quay.io/nginx:1", []string{
			"docker.io is not asked: path yields no valid reference: {name}",
		}},
	} {
		t.Run(test.image, func(t *testing.T) {
			var got []string
			name := parse(t, test.image)
			for _, v := range set.RuleResults(name) {
				verb := "is not asked"
				if v.Asked {
					verb = "is asked"
				}
				if (v.Reference != "") != v.Asked || v.Down != "" {
					t.Errorf("result %+v", v)
				}
				if v.Asked && !slices.Contains(references(set.Candidates(name)), v.Reference) {
					t.Errorf("%s is not a candidate", v.Reference)
				}
				got = append(got, fmt.Sprintf("%s %s: %s", shortAddress(v.Registry), verb, v.Rule))
			}
			if len(got) != 9 {
				t.Errorf("%d results, want one for each registry", len(got))
			}
			last := -1
			for _, want := range test.want {
				at := slices.Index(got, want)
				if at <= last {
					t.Errorf("no %q, or in the wrong place, in %q", want, got)
				}
				last = at
			}
		})
	}
}

func shortAddress(address string) string {
	_, host, _ := strings.Cut(address, "://")
	return strings.Replace(host, ".example.com", "", 1)
}
