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

// party is a registry that wants a login, and its token server if it has one. All
// that they are sent is remembered.
type party struct {
	name, password, token string
	registry, tokens      *testbed.FaultyRegistry
	registrySaw, tokenSaw testbed.Witness
	image                 v1.Image
}

const (
	repository = "team/app:1"
	basic      = "basic"
	bearer     = "bearer"
)

// newParty starts a registry without images. fault is what it does for those who
// have logged in.
func newParty(t *testing.T, name, kind string, fault testbed.Fault) *party {
	t.Helper()
	p := &party{name: name, password: canary(name + "-password"), token: canary(name + "-token")}
	p.tokens = serve(t, p.tokenSaw.Watch(testbed.TokenServer(name, p.password, "", p.token)))
	if kind == bearer {
		return p.with(t, testbed.TokenLogin(p.realm(), p.token, fault))
	}
	return p.with(t, testbed.BasicLogin(name, p.password, fault))
}

// with starts the party's registry.
func (p *party) with(t *testing.T, fault testbed.Fault) *party {
	t.Helper()
	p.registry = serve(t, p.registrySaw.Watch(fault))
	return p
}

func serve(t *testing.T, fault testbed.Fault) *testbed.FaultyRegistry {
	t.Helper()
	server := testbed.StartFaultyRegistry(fault, nil)
	t.Cleanup(server.Close)
	return server
}

func (p *party) realm() string { return toLocalhost(p.tokens.Address()) + "/token" }

// toLocalhost makes another host of a server on this machine. A token server must
// have a name: go-containerregistry sends no password to a private IP address
// that is not the registry's.
func toLocalhost(address string) string { return strings.Replace(address, "127.0.0.1", "localhost", 1) }

// partyImages are built once, by the name of the party.
var partyImages sync.Map

func partyImage(t *testing.T, name string) v1.Image {
	t.Helper()
	build, _ := partyImages.LoadOrStore(name, sync.OnceValues(func() (v1.Image, error) { return testbed.Image(name + "'s") }))
	image, err := build.(func() (v1.Image, error))()
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// push gives the registry an image of its own.
func (p *party) push(t *testing.T) {
	t.Helper()
	p.image = partyImage(t, p.name)
	if err := p.registry.Push(testContext(t), repository, p.image); err != nil {
		t.Fatal(err)
	}
}

func (p *party) host() string { return strings.TrimPrefix(p.registry.Address(), "http://") }

// entry is the party in the shim's configuration.
func (p *party) entry(priority int, login bool) string {
	entry := fmt.Sprintf("- address: %s\n  priority: %d\n", p.registry.Address(), priority)
	if login {
		entry += fmt.Sprintf("  auth: %q\n", p.name+":"+p.password)
	}
	return entry
}

// login is what a caller brings for the party's registry.
func (p *party) login() *runtimeapi.AuthConfig {
	return &runtimeapi.AuthConfig{Username: p.name, Password: p.password}
}

// wantSecretsAtHome requires that no server has seen a secret that is not its own,
// and that just these parties were logged in to.
func wantSecretsAtHome(t *testing.T, kind string, parties []*party, used ...string) {
	t.Helper()
	for _, p := range parties {
		for _, other := range parties {
			own := other == p
			for server, may := range map[*testbed.Witness][]string{&p.registrySaw: {p.password}, &p.tokenSaw: {p.password}} {
				if kind == bearer && server == &p.registrySaw {
					may = []string{p.token}
				}
				for _, secret := range []string{other.password, other.token} {
					if server.Saw(secret) && !(own && slices.Contains(may, secret)) {
						t.Errorf("%s's servers were sent %s", p.name, secret)
					}
				}
			}
		}
		if got, want := p.registrySaw.Saw(p.password) || p.registrySaw.Saw(p.token), slices.Contains(used, p.name); got != want {
			t.Errorf("%s was logged in to: %v, want %v", p.name, got, want)
		}
	}
}
