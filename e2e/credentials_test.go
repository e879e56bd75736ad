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

// TestWhoSeesCredentials records the requests to the original registry, to two private
// registries and to their token servers, each with its own login. Whichever registry
// serves an image, no server receives a secret of another one.
func TestWhoSeesCredentials(t *testing.T) {
	noBlobs := testbed.OnBlobs(testbed.Answer(403, nil, ""))
	for _, test := range []struct {
		name       string
		has        string // the private registries that have the image
		broken     bool   // the first private registry's image can't be pulled
		logins     string // the private registries for which the shim has a login
		registries string // the configured registries
		anonymous  bool   // the client sends no credentials
		own        bool   // the image is requested by the private registry's name
		match      string // of the registries
		from       string // the registry that serves it; empty: none
		used       []string
	}{
		{name: "served", has: private, registries: private, logins: private, from: private, used: []string{private}},
		{name: "served, anonymous client", has: private, registries: private, logins: private, anonymous: true, from: private, used: []string{private}},
		{name: "served under its own name", has: private, registries: private, logins: private, anonymous: true, own: true, from: private, used: []string{private}},
		{name: "left out", has: private, match: `"!*/team"`, registries: private, logins: private, from: original, used: []string{original}},
		{name: "left out under its own name", has: private, match: `"!*/team"`, registries: private, logins: private, anonymous: true, own: true},
		{name: "absent", registries: private, logins: private, from: original, used: []string{private, original}},
		{name: "absent, anonymous client", registries: private, logins: private, anonymous: true, used: []string{private}},
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
						t.Error("the pull succeeded, want an error")
					case id != hash(t, registries[test.from].image.ConfigName):
						t.Errorf("pulled image %s, want that of %s", id, test.from)
					}
					wantNoLeakedSecrets(t, kind, []*authRegistry{registries[original], registries[private], registries[second]}, test.used...)
					explanation, err := n.shim.Run(testContext(t), "resolve", asked)
					if err != nil || len(explanation) == 0 {
						t.Errorf("resolve printed %q (%v)", explanation, err)
					}
					wantNoSecret(t, "resolve", explanation)
				})
			})
		}
	}
}
