package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/config"
	"image-cri-shim/explain"
	"image-cri-shim/registry"
)

const hub = "http://hub:5000"

// lookup returns the lookup of an image on another host than the registry's. key excludes the
// image, unless it is empty.
func lookup(image, key string, state registry.State, fallBack bool) explain.Lookups {
	l := explain.Lookups{Image: image, Reference: image, Rules: []registry.RuleResult{{Registry: hub, Asked: key == "", Key: key}}, MayFallBack: fallBack}
	if key == "" {
		answer := registry.Answer{Candidate: registry.Candidate{Registry: hub, Reference: "hub:5000/" + image}, State: state}
		if state == registry.Unknown {
			answer.Err = errors.New("answered 403 Forbidden")
		}
		l.Answers = []registry.Answer{answer}
	}
	return l
}

// ownLookup returns the lookup of an image on the registry's own host.
func ownLookup(image string, state registry.State) explain.Lookups {
	l := lookup(image, "", state, true)
	l.Rules[0].OwnHost = true
	return l
}

func nodeWith(images ...explain.Lookups) *node {
	n := &node{Options: Options{Settings: &config.Config{}, File: "shim.yaml"}, probes: []registry.Probe{{Registry: hub}}}
	n.runtime.version = &cri.VersionResponse{}
	n.images = nodeImages{known: true, lookups: images, total: len(images)}
	return n
}

// TestImages tests the findings on the images that a registry is asked for.
func TestImages(t *testing.T) {
	const found, absent, unknown = registry.Found, registry.Absent, registry.Unknown
	for _, test := range []struct {
		name       string
		images     []explain.Lookups
		configured config.Registry
		level      Level
		text, hint string // a part; an empty text: no finding
	}{
		{"no image", nil, config.Registry{}, OK, "no image on the node", ""},
		{"some", []explain.Lookups{lookup("a:1", "", found, true), lookup("b:1", "", absent, true), lookup("c:1", "match", 0, true)}, config.Registry{}, OK, "has 1 of 2 images", ""},
		{"match", []explain.Lookups{lookup("a:1", "match", 0, true), ownLookup("b:1", found)}, config.Registry{Match: []string{"ghcr.io"}}, Warn, "none of the images on the node (1): match: ghcr.io fits", "correct the key match"},
		{"tags", []explain.Lookups{lookup("a:1", "tags", 0, true)}, config.Registry{Tags: []string{"v*", "!v0"}}, Warn, "tags: v*, !v0 fits", "correct the key tags"},
		{"path", []explain.Lookups{lookup("a:1", "path", 0, true)}, config.Registry{Path: "{path}-"}, Warn, "path: {path}- fits", "correct the key path"},
		{"only its own", []explain.Lookups{ownLookup("a:1", found)}, config.Registry{}, OK, "has 1 of 1 image on the node", ""},
		{"its own is absent", []explain.Lookups{ownLookup("a:1", absent)}, config.Registry{}, OK, "", ""},
		{"none", []explain.Lookups{lookup("a:1", "", absent, true)}, config.Registry{Path: "{path}"}, Warn, "has none of the images on the node that it is asked for (1), such as a:1 as hub:5000/a:1", "set the key path"},
		{"none with a path", []explain.Lookups{lookup("a:1", "", absent, true)}, config.Registry{Path: "x/{path}"}, Warn, "has none", "correct the key path"},
		{"denied", []explain.Lookups{lookup("a:1", "", unknown, true)}, config.Registry{}, Fail, "answers no lookup of the images on the node (1), such as hub:5000/a:1: answered 403", "set auth"},
		{"denied in parts", []explain.Lookups{lookup("a:1", "", unknown, true), lookup("b:1", "", found, true)}, config.Registry{}, Warn, "1 of 2 lookups", "set auth"},
		{"logins of projects", []explain.Lookups{lookup("a:1", "", unknown, true)}, config.Registry{AuthFile: "/auth.json"}, Warn, "1 of 1 lookups", "add a login to /auth.json"},
		{"public", []explain.Lookups{lookup("a:1", "match", 0, true)}, config.Registry{Address: "https://docker.io"}, OK, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantFinding(t, nodeWith(test.images...).imageFindings(registry.Probe{Registry: hub}, test.configured), test.level, test.text, test.hint)
		})
	}
	n := nodeWith()
	n.images = nodeImages{err: errors.New("closed")}
	wantFinding(t, n.imageFindings(registry.Probe{Registry: hub}, config.Registry{}), Warn, "unknown: closed", "runtime's log")
	n = nodeWith(lookup("a:1", "", found, true))
	n.images.total = 200
	wantFinding(t, n.imageFindings(registry.Probe{Registry: hub}, config.Registry{}), OK, "not looked up: 199 more", "")
	if got := n.imageFindings(registry.Probe{Registry: hub, TLS: errors.New("expired")}, config.Registry{}); len(got) > 0 {
		t.Errorf("of a registry that can't be reached: %+v", got)
	}
}

// TestFallback tests the finding on images that may only be pulled from the registries.
func TestFallback(t *testing.T) {
	const found, absent, unknown = registry.Found, registry.Absent, registry.Unknown
	for _, test := range []struct {
		name   string
		images []explain.Lookups
		level  Level
		text   string // a part; empty: no finding
	}{
		{"allowed", []explain.Lookups{lookup("a:1", "", absent, true)}, OK, ""},
		{"found", []explain.Lookups{lookup("a:1", "", found, false), lookup("b:1", "", absent, true)}, OK, "have all images"},
		{"one absent", []explain.Lookups{lookup("a:1", "", found, false), lookup("b:1", "", absent, false)}, Warn, "1 of 2 images on the node fail, because no registry that they may use confirms that it has them: b:1"},
		{"all absent", []explain.Lookups{lookup("a:1", "", absent, false), lookup("b:1", "match", 0, false)}, Fail, "2 of 2 images"},
		{"all but its own", []explain.Lookups{lookup("a:1", "", unknown, false), ownLookup("b:1", found)}, Fail, "1 of 2 images"},
		{"its own", []explain.Lookups{lookup("a:1", "", found, true), ownLookup("b:1", absent)}, Warn, "1 of 2 images on the node fail, because no registry that they may use confirms that it has them: b:1"},
		{"its own could not be asked", []explain.Lookups{ownLookup("b:1", unknown)}, OK, ""}, // reported by imageFindings
	} {
		t.Run(test.name, func(t *testing.T) {
			hint := ""
			if test.level != OK {
				hint = "push the images"
			}
			wantFinding(t, checkFallback(t.Context(), nodeWith(test.images...)), test.level, test.text, hint)
		})
	}
}

// TestFallbackInASample requires that images of a sample do not count as all images of the node.
func TestFallbackInASample(t *testing.T) {
	n := nodeWith(ownLookup("a:1", registry.Absent), ownLookup("b:1", registry.Found))
	wantFinding(t, checkFallback(t.Context(), n), Fail, "1 of 2 images", "push the images")
	n.images.total = 30
	wantFinding(t, checkFallback(t.Context(), n), Warn, "1 of 2 images", "push the images")
}

// TestOriginals tests the findings on images that no configured registry has.
func TestOriginals(t *testing.T) {
	b := newHostsFixture(t)
	examine := func(level Level, text string, images ...explain.Lookups) {
		t.Helper()
		n := nodeWith(images...)
		n.Settings.LookupTimeout = 10 * time.Second
		n.runtime.version.RuntimeName = "containerd"
		n.runtimeSettings.Registry.ConfigPath = t.TempDir()
		for _, host := range []string{"HTTP", "DEAD", "LOGIN"} {
			folder := filepath.Join(n.runtimeSettings.Registry.ConfigPath, b.names[host])
			content := fmt.Sprintf("server = \"http://%[1]s\"\n[host.\"http://%[1]s\"]\n", b.names[host])
			if err := errors.Join(os.Mkdir(folder, 0o700), os.WriteFile(filepath.Join(folder, "hosts.toml"), []byte(content), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		hint := ""
		switch {
		case level != OK && slices.ContainsFunc(images, func(l explain.Lookups) bool { return l.Answers != nil && l.Answers[0].State == registry.Unknown }):
			hint = "this follows from the failure of " + hub + " above"
		case level != OK:
			hint = "push these images"
		}
		wantFinding(t, checkOriginals(t.Context(), n), level, text, hint)
		for host, want := range map[string]bool{b.names["HTTP"]: true, b.names["LOGIN"]: true, b.names["DEAD"]: false} {
			if got := n.reachesOriginal(t.Context(), host); got != want {
				t.Errorf("%s is reached: %t", host, got)
			}
		}
		n.probes = []registry.Probe{{Host: b.names["HTTP"]}}
		if n.reachesOriginal(t.Context(), b.names["HTTP"]) {
			t.Error("the host of a configured registry counts as an original one")
		}
	}
	reached, login, dead := b.names["HTTP"]+"/app:1", b.names["LOGIN"]+"/app:1", b.names["DEAD"]+"/app:1"
	examine(OK, "it has 1 image on the node, such as "+reached+"; they are pulled from "+b.names["HTTP"]+", which the runtime reaches", lookup(reached, "", registry.Absent, true))
	examine(OK, "which the runtime reaches", lookup(login, "match", 0, true))
	examine(Warn, "which the runtime does not reach: dial tcp", lookup(dead, "", registry.Unknown, true))
	examine(Fail, "which the runtime does not reach: dial tcp", lookup(dead, "", registry.Absent, true))
	examine(Fail, "which the runtime does not reach: dial tcp", lookup(dead, "", registry.Absent, true), ownLookup("a:1", registry.Found))
	examine(Warn, "which the runtime does not reach: dial tcp", lookup(dead, "", registry.Absent, true), lookup("a:1", "", registry.Found, true))
	examine(Warn, "which the runtime does not reach: dial tcp", lookup(dead, "match", 0, true), ownLookup("a:1", registry.Absent))
	examine(OK, "", lookup(dead, "", registry.Found, true))
	examine(OK, "", lookup(dead, "", registry.Absent, false))
	examine(OK, "", ownLookup(dead, registry.Absent))
	examine(OK, "", lookup("localhost/built:1", "", registry.Absent, true))
}
