package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// TestIdentityToken requires that both the shim and the runtime exchange an identity token at
// the registry's token server.
func TestIdentityToken(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		identity := newSecret("identity")
		r := &authRegistry{name: private, token: newSecret("private-token")}
		r.tokens = startFaultyRegistry(t, r.tokenRequests.Record(testbed.TokenServer("", "", identity, r.token)))
		r.startRegistry(t, testbed.TokenLogin(r.realm(), r.token, testbed.Healthy)).push(t)
		n := newNode(t, runtime, r.withAuthFile(t, `{"identitytoken": "`+identity+`"}`))
		if got, want := n.pull(t, n.through, repository, callerLogin), hash(t, r.image.ConfigName); got != want {
			t.Errorf("pulled image %s, want %s", got, want)
		}
		if !r.tokenRequests.Contains(identity) || r.registryRequests.Contains(identity) {
			t.Errorf("the token server received the identity token: %v, the registry: %v", r.tokenRequests.Contains(identity), r.registryRequests.Contains(identity))
		}
		if r.tokenRequests.Contains(upstreamPassword) || r.registryRequests.Contains(upstreamPassword) {
			t.Error("the client's password was sent")
		}
	})
}

// TestRegistryToken requires that a registry token works for lookups. containerd does not use
// it and fails to log in, so the pull continues at the original.
func TestRegistryToken(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		r := newAuthRegistry(t, private, bearer, testbed.Healthy)
		r.push(t)
		source := newAuthRegistry(t, original, basic, testbed.Healthy)
		source.push(t)
		n := newNode(t, runtime, r.withAuthFile(t, `{"registrytoken": "`+r.token+`"}`))
		asked := source.host() + "/" + repository
		if got, want := n.pull(t, n.through, asked, source.login()), hash(t, source.image.ConfigName); got != want {
			t.Errorf("pulled image %s, want the original's %s", got, want)
		}
		if decision := n.decision(t, asked); !strings.Contains(decision.Reason, r.registry.Address()+" (pull failed") {
			t.Errorf("the shim logged %+v, want a failed pull from the registry", decision)
		}
		wantNoLeakedSecrets(t, bearer, []*authRegistry{r}, private)
		wantNoLeakedSecrets(t, basic, []*authRegistry{source}, original)
	})
}

// TestCredentialHelper logs in with the credentials from a helper. The error of a failing
// helper must not contain its output.
func TestCredentialHelper(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		r := newAuthRegistry(t, private, basic, testbed.Healthy)
		r.push(t)
		folder := t.TempDir()
		t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
		helper := func(script string) {
			if err := os.WriteFile(filepath.Join(folder, "docker-credential-canary"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		file := filepath.Join(folder, "config.json")
		if err := os.WriteFile(file, fmt.Appendf(nil, `{"credHelpers": {%q: "canary"}}`, r.host()), 0o600); err != nil {
			t.Fatal(err)
		}
		n := newNode(t, runtime, fmt.Sprintf("debug: true\nfallback: never\nauthFile: %s\nregistries:\n%s", file, r.configEntry(900, false)))
		helper("echo " + r.password + "; echo " + r.password + " >&2; exit 7")
		_, err := n.through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: repository}, callerLogin, nil)
		if err == nil || !strings.Contains(err.Error(), `helper "canary" failed: exit status 7`) {
			t.Errorf("got %v, want the helper's failure", err)
		}
		wantNoSecret(t, "error", fmt.Append(nil, err))
		helper(fmt.Sprintf(`echo '{"Username":%q,"Secret":%q}'`, r.name, r.password))
		if got, want := n.pull(t, n.through, repository, callerLogin), hash(t, r.image.ConfigName); got != want {
			t.Errorf("pulled image %s, want %s", got, want)
		}
		wantNoLeakedSecrets(t, basic, []*authRegistry{r}, private)
	})
}

// withAuthFile returns a configuration with the logins in an auth file. login is the
// registry's entry in it.
func (r *authRegistry) withAuthFile(t *testing.T, login string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, fmt.Appendf(nil, `{"auths": {%q: %s}}`, r.host(), login), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("debug: true\nauthFile: %s\nregistries:\n%s", file, r.configEntry(900, false))
}
