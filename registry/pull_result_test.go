package registry_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"image-cri-shim/registry"
)

// twice serves one image from two registries; the first has the higher priority.
func twice(t *testing.T, options registry.Options) (set *registry.Set, one, two *server) {
	t.Helper()
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	contents.push(t, "library/nginx:1.26")
	contents.push(t, "library/nginx/module:1")
	contents.push(t, "library/redis:7")
	one, two = serve(t, contents), serve(t, contents)
	options.Registries = []registry.Config{{Address: one.URL}, {Address: two.URL}}
	return newSet(t, options), one, two
}

// brief returns the answers of a set for an image as short texts, in order.
func brief(t *testing.T, set *registry.Set, image string, names map[string]string) []string {
	t.Helper()
	var answers []string
	for _, answer := range find(t, set, image) {
		answers = append(answers, names[answer.Registry]+" "+answer.State.String())
	}
	return answers
}

func TestFailedPull(t *testing.T) {
	set, one, two := twice(t, registry.Options{AbsentTTL: time.Hour})
	names := map[string]string{one.URL: "one", two.URL: "two"}
	find(t, set, "nginx:gone")
	first := find(t, set, "nginx:1.25")[0].Candidate
	set.RecordPullFailure(first, 0)
	set.RecordPullFailure(first, 0)
	set.RecordPullFailure(registry.Candidate{Registry: "http://unknown.example.com", Reference: first.Reference}, time.Hour)
	again := find(t, set, "nginx:1.25")
	if again[0].Registry != two.URL || !again[0].Cached {
		t.Errorf("%s first, cached %v, want the other registry's answer from the cache", again[0].Registry, again[0].Cached)
	}
	if again[1].Registry != one.URL || again[1].State != registry.Found || again[1].Cached {
		t.Errorf("%v, cached %v (%v), want it asked, found again and last", again[1].State, again[1].Cached, again[1].Err)
	}
	if again[0].Postponed != "" || again[1].Postponed != "comes later: a pull of this image failed recently" {
		t.Errorf("postponed %q, then %q", again[0].Postponed, again[1].Postponed)
	}
	if got := brief(t, set, "nginx:1.26", names); !slices.Equal(got, []string{"one found", "two found"}) {
		t.Errorf("another image: %q", got)
	}
	if gone := find(t, set, "nginx:gone"); !gone[0].Cached {
		t.Error("an absent image was looked up again")
	}
	set.RecordPull(first)
	if got := brief(t, set, "nginx:1.25", names); !slices.Equal(got, []string{"one found", "two found"}) {
		t.Errorf("after a pull that succeeded: %q", got)
	}
}

// A candidate comes first again some time after its pull failed.
func TestFailedPullIsForgiven(t *testing.T) {
	set, one, two := twice(t, registry.Options{AbsentTTL: time.Nanosecond})
	set.RecordPullFailure(find(t, set, "nginx:1.25")[0].Candidate, 0)
	if got := brief(t, set, "nginx:1.25", map[string]string{one.URL: "one", two.URL: "two"}); !slices.Equal(got, []string{"one found", "two found"}) {
		t.Errorf("answers %q", got)
	}
}

// A repository with a stalled pull comes last, after the original if that is on another
// registry. Other repositories of the registry are not affected.
func TestStalledPull(t *testing.T) {
	for _, test := range []struct {
		name       string
		fallback   registry.Fallback
		image      string // {one} is the first registry's host
		want       []string
		lastResort bool // the last answer comes after the original
	}{
		{"the original registry comes before it", registry.FallbackOriginal, "nginx:1.26", []string{"two found", "one found"}, true},
		{"an absent image stays absent", registry.FallbackOriginal, "nginx:gone", []string{"one absent", "two absent"}, false},
		{"the original registry may not be asked", registry.FallbackNever, "nginx:1.26", []string{"two found", "one found"}, true},
		{"it is the original registry", registry.FallbackOriginal, "{one}/library/nginx:1.26", []string{"two found", "one found"}, false},
		{"another repository", registry.FallbackOriginal, "redis:7", []string{"one found", "two found"}, false},
		{"a repository below it", registry.FallbackOriginal, "docker.io/library/nginx/module:1", []string{"one found", "two found"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			set, one, two := twice(t, registry.Options{Fallback: test.fallback})
			names := map[string]string{one.URL: "one", two.URL: "two"}
			stalled := find(t, set, "nginx:1.25")[0].Candidate
			set.RecordPullFailure(stalled, time.Second)
			image := strings.ReplaceAll(test.image, "{one}", one.host())
			if got := brief(t, set, image, names); !slices.Equal(got, test.want) {
				t.Errorf("answers %q, want %q", got, test.want)
			}
			answers := find(t, set, image)
			last := answers[len(answers)-1]
			if last.LastResort != test.lastResort || answers[0].LastResort {
				t.Errorf("a last resort: %v, want %v", last.LastResort, test.lastResort)
			}
			if strings.HasPrefix(test.want[1], "one") != strings.HasSuffix(last.Postponed, ": a pull from this repository stalled") {
				t.Errorf("postponed because it %q", last.Postponed)
			}
			set.RecordPull(stalled)
			for _, answer := range find(t, set, image) {
				if answer.LastResort || answer.Postponed != "" {
					t.Errorf("after a pull that succeeded: %q", answer.Postponed)
				}
			}
		})
	}
}

// The condition of a registry names a repository that comes last and counts the others.
func TestStalledRepositoriesAreNamed(t *testing.T) {
	set, one, _ := twice(t, registry.Options{})
	for _, image := range []string{"redis:7", "nginx:1.25"} {
		set.RecordPullFailure(find(t, set, image)[0].Candidate, time.Second)
	}
	conditions := set.Conditions()
	want := "pulls from " + one.host() + "/library/nginx and 1 more of its repositories stalled: they come last for now"
	if conditions[0].Stalled != want || conditions[0].Down || conditions[1].Stalled != "" {
		t.Errorf("%+v, want %q of the first", conditions, want)
	}
}

// A slow pull is taken for that of a large image if another pull from the repository
// succeeds in the meantime.
func TestBigImageIsNoStall(t *testing.T) {
	set, one, two := twice(t, registry.Options{})
	names := map[string]string{one.URL: "one", two.URL: "two"}
	big, small := find(t, set, "nginx:1.25")[0].Candidate, find(t, set, "nginx:1.26")[0].Candidate
	set.RecordPull(small)
	set.RecordPullFailure(big, time.Hour)
	if got := brief(t, set, "nginx:1.26", names); !slices.Equal(got, []string{"one found", "two found"}) {
		t.Errorf("answers %q", got)
	}
}

// Successful pulls from other repositories do not affect a stalled one.
func TestStallBesideOtherRepositories(t *testing.T) {
	set, one, two := twice(t, registry.Options{})
	names := map[string]string{one.URL: "one", two.URL: "two"}
	stalled, other := find(t, set, "nginx:1.25")[0].Candidate, find(t, set, "redis:7")[0].Candidate
	set.RecordPull(other)
	set.RecordPullFailure(stalled, time.Hour)
	set.RecordPull(other)
	if got := brief(t, set, "nginx:1.26", names); !slices.Equal(got, []string{"two found", "one found"}) {
		t.Errorf("answers %q", got)
	}
}
