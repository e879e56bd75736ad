package e2e

import (
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

const (
	original = "original"
	private  = "private"
	second   = "second"
)

// TestWhoSeesCredentials watches the wire at the original registry, at two private
// ones and at their token servers, while each has a login of its own: whoever
// serves an image, no secret reaches another than it is for.
func TestWhoSeesCredentials(t *testing.T) {
	noBlobs := testbed.OnBlobs(testbed.Answer(403, nil, ""))
	for _, test := range []struct {
		name       string
		has        string // the private ones that have the image
		broken     bool   // what the first private one has can't be pulled
		logins     string // the private ones that the shim has a login for
		registries string // that are configured
		anonymous  bool   // the caller brings nothing
		own        bool   // asked for by the private one's name
		match      string // of the registries
		from       string // who serves it; empty: nobody
		used       []string
	}{
		{name: "served", has: private, registries: private, logins: private, from: private, used: []string{private}},
		{name: "served, anonymous caller", has: private, registries: private, logins: private, anonymous: true, from: private, used: []string{private}},
		{name: "served under its own name", has: private, registries: private, logins: private, anonymous: true, own: true, from: private, used: []string{private}},
		{name: "left out", has: private, match: `"!*/team"`, registries: private, logins: private, from: original, used: []string{original}},
		{name: "left out under its own name", has: private, match: `"!*/team"`, registries: private, logins: private, anonymous: true, own: true},
		{name: "absent", registries: private, logins: private, from: original, used: []string{private, original}},
		{name: "absent, anonymous caller", registries: private, logins: private, anonymous: true, used: []string{private}},
		{name: "pull fails", has: private, broken: true, registries: private, logins: private, from: original, used: []string{private, original}},
		{name: "no login", has: private, registries: private, from: original, used: []string{original}},
		{name: "second has it", has: second, registries: private + second, logins: private + second, from: second, used: []string{private, second}},
		{name: "only the second has a login", has: private + second, registries: private + second, logins: second, from: second, used: []string{second}},
		{name: "pull from the first fails", has: private + second, broken: true, registries: private + second, logins: private + second, from: second, used: []string{private, second}},
		{name: "neither has it", registries: private + second, logins: private + second, from: original, used: []string{private, second, original}},
	} {
		for _, kind := range []string{basic, bearer} {
			t.Run(test.name+"/"+kind, func(t *testing.T) {
				onEachRuntime(t, func(t *testing.T, runtime runtime) {
					fault := testbed.Fault(testbed.Healthy)
					if test.broken {
						fault = noBlobs
					}
					registries := map[string]*authRegistry{
						original: newAuthRegistry(t, original, kind, testbed.Healthy),
						private:  newAuthRegistry(t, private, kind, fault),
						second:   newAuthRegistry(t, second, kind, testbed.Healthy),
					}
					registries[original].push(t)
					configuration := "debug: true\nregistries:\n"
					for i, name := range []string{private, second} {
						if strings.Contains(test.has, name) {
							registries[name].push(t)
						}
						if strings.Contains(test.registries, name) {
							configuration += registries[name].configEntry(900-i, strings.Contains(test.logins, name)) + "  match: [" + test.match + "]\n"
						}
					}
					n := newNode(t, runtime, configuration)
					auth := registries[original].login()
					if test.anonymous {
						auth = nil
					}
					asked := registries[original].host() + "/" + repository
					if test.own {
						asked = registries[private].host() + "/" + repository
					}
					id, err := n.through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: asked}, auth, nil)
					switch {
					case err != nil:
						wantNoSecret(t, "error", []byte(err.Error()))
						if test.from != "" {
							t.Errorf("pull: %v, want it from %s", err, test.from)
						}
					case test.from == "":
						t.Error("it was pulled")
					case id != hash(t, registries[test.from].image.ConfigName):
						t.Errorf("pulled image %s, want that of %s", id, test.from)
					}
					wantNoLeakedSecrets(t, kind, []*authRegistry{registries[original], registries[private], registries[second]}, test.used...)
					explanation, err := n.shim.Run(testContext(t), "resolve", asked)
					if err != nil || len(explanation) == 0 {
						t.Errorf("resolve says %q (%v)", explanation, err)
					}
					wantNoSecret(t, "resolve", explanation)
				})
			})
		}
	}
}
