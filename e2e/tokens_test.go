package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"image-cri-shim/e2e/testbed"
)

// TestIdentityToken has the shim and the runtime exchange an identity token at the
// registry's token server, each for itself.
func TestIdentityToken(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		identity := canary("identity")
		p := &party{name: private, token: canary("private-token")}
		p.tokens = serve(t, p.tokenSaw.Watch(testbed.TokenServer("", "", identity, p.token)))
		p.with(t, testbed.TokenLogin(p.realm(), p.token, testbed.Healthy)).push(t)
		n := newNode(t, runtime, p.withAuthFile(t, `{"identitytoken": "`+identity+`"}`))
		if got, want := n.pull(t, n.through, repository, callers), hash(t, p.image.ConfigName); got != want {
			t.Errorf("pulled image %s, want %s", got, want)
		}
		if !p.tokenSaw.Saw(identity) || p.registrySaw.Saw(identity) {
			t.Errorf("the token server was sent the identity token: %v, the registry: %v", p.tokenSaw.Saw(identity), p.registrySaw.Saw(identity))
		}
		if p.tokenSaw.Saw(upstreamPassword) || p.registrySaw.Saw(upstreamPassword) {
			t.Error("the caller's password was sent")
		}
	})
}

// TestRegistryToken shows what a registry token is good for: look-ups. containerd
// does not use it and fails to log in, so that the pull goes on to the original.
func TestRegistryToken(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		p := newParty(t, private, bearer, testbed.Healthy)
		p.push(t)
		source := newParty(t, original, basic, testbed.Healthy)
		source.push(t)
		n := newNode(t, runtime, p.withAuthFile(t, `{"registrytoken": "`+p.token+`"}`))
		asked := source.host() + "/" + repository
		if got, want := n.pull(t, n.through, asked, source.login()), hash(t, source.image.ConfigName); got != want {
			t.Errorf("pulled image %s, want the original's %s", got, want)
		}
		if decision := n.decision(t, asked); !strings.Contains(decision.Reason, p.registry.Address()+" (pull failed") {
			t.Errorf("the shim logged %+v, want the registry's pull to have failed", decision)
		}
		wantSecretsAtHome(t, bearer, []*party{p}, private)
		wantSecretsAtHome(t, basic, []*party{source}, original)
	})
}

// withAuthFile is a configuration whose logins are in a file. login is the
// registry's entry there.
func (p *party) withAuthFile(t *testing.T, login string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, fmt.Appendf(nil, `{"auths": {%q: %s}}`, p.host(), login), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("debug: true\nauthFile: %s\nregistries:\n%s", file, p.entry(900, false))
}
