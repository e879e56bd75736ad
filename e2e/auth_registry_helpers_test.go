package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// authRegistry is a registry that requires a login, with its token server if it has one.
// It records all requests to both.
type authRegistry struct {
	name, password, token           string
	registry, tokens                *testbed.FaultyRegistry
	registryRequests, tokenRequests testbed.RequestRecorder
	image                           v1.Image
}

const (
	repository = "team/app:1"
	basic      = "basic"
	bearer     = "bearer"
)

// newAuthRegistry starts a registry without images. fault handles the authenticated
// requests.
func newAuthRegistry(t *testing.T, name, kind string, fault testbed.Fault) *authRegistry {
	t.Helper()
	r := &authRegistry{name: name, password: newSecret(name + "-password"), token: newSecret(name + "-token")}
	r.tokens = startFaultyRegistry(t, r.tokenRequests.Record(testbed.TokenServer(name, r.password, "", r.token)))
	if kind == bearer {
		return r.startRegistry(t, testbed.TokenLogin(r.realm(), r.token, fault))
	}
	return r.startRegistry(t, testbed.BasicLogin(name, r.password, fault))
}

// startRegistry starts the registry with a handler.
func (r *authRegistry) startRegistry(t *testing.T, fault testbed.Fault) *authRegistry {
	t.Helper()
	r.registry = startFaultyRegistry(t, r.registryRequests.Record(fault))
	return r
}

func startFaultyRegistry(t *testing.T, fault testbed.Fault) *testbed.FaultyRegistry {
	t.Helper()
	server := testbed.StartFaultyRegistry(fault, nil)
	t.Cleanup(server.Close)
	return server
}

func (r *authRegistry) realm() string { return toLocalhost(r.tokens.Address()) + "/token" }

// toLocalhost replaces the IP address of this machine with a host name. A token server
// must have a name, because go-containerregistry sends no password to a private IP address
// other than the registry's.
func toLocalhost(address string) string { return strings.Replace(address, "127.0.0.1", "localhost", 1) }

// authImages caches the image of each registry by the registry's name.
var authImages sync.Map

func authImage(t *testing.T, name string) v1.Image {
	t.Helper()
	build, _ := authImages.LoadOrStore(name, sync.OnceValues(func() (v1.Image, error) { return testbed.Image(name + "'s") }))
	image, err := build.(func() (v1.Image, error))()
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// push stores the registry's image, which differs from that of other registries.
func (r *authRegistry) push(t *testing.T) {
	t.Helper()
	r.image = authImage(t, r.name)
	if err := r.registry.Push(testContext(t), repository, r.image); err != nil {
		t.Fatal(err)
	}
}

func (r *authRegistry) host() string { return strings.TrimPrefix(r.registry.Address(), "http://") }

// configEntry returns the registry's entry in the shim's configuration.
func (r *authRegistry) configEntry(priority int, login bool) string {
	entry := fmt.Sprintf("- address: %s\n  priority: %d\n", r.registry.Address(), priority)
	if login {
		entry += fmt.Sprintf("  auth: %q\n", r.name+":"+r.password)
	}
	return entry
}

// login returns a client's credentials for the registry.
func (r *authRegistry) login() *runtimeapi.AuthConfig {
	return &runtimeapi.AuthConfig{Username: r.name, Password: r.password}
}

// wantNoLeakedSecrets requires that no server has received another server's secret, and
// that exactly the registries named in used have received a login.
func wantNoLeakedSecrets(t *testing.T, kind string, registries []*authRegistry, used ...string) {
	t.Helper()
	for _, r := range registries {
		for _, other := range registries {
			own := other == r
			for server, may := range map[*testbed.RequestRecorder][]string{&r.registryRequests: {r.password}, &r.tokenRequests: {r.password}} {
				if kind == bearer && server == &r.registryRequests {
					may = []string{r.token}
				}
				for _, secret := range []string{other.password, other.token} {
					if server.Contains(secret) && !(own && slices.Contains(may, secret)) {
						t.Errorf("%s's servers received %s", r.name, secret)
					}
				}
			}
		}
		if got, want := r.registryRequests.Contains(r.password) || r.registryRequests.Contains(r.token), slices.Contains(used, r.name); got != want {
			t.Errorf("%s received a login: %v, want %v", r.name, got, want)
		}
	}
}
