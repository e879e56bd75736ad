package e2e

import (
	"crypto/rand"
	"slices"
	"sync"
	"testing"

	"image-cri-shim/e2e/testbed"
)

// canaries are all secrets of all tests. Nothing that the shim prints, answers or
// keeps may hold one.
var canaries = struct {
	mutex   sync.Mutex
	secrets []string
}{secrets: []string{privatePassword, upstreamPassword, wrongPassword}}

// canary returns a new secret.
func canary(name string) string {
	return keepSecret("canary-" + name + "-" + rand.Text())
}

func keepSecret(secret string) string {
	canaries.mutex.Lock()
	defer canaries.mutex.Unlock()
	canaries.secrets = append(canaries.secrets, secret)
	return secret
}

func wantNoSecret(t *testing.T, where string, text []byte) {
	t.Helper()
	canaries.mutex.Lock()
	defer canaries.mutex.Unlock()
	if i := slices.IndexFunc(canaries.secrets, func(secret string) bool { return testbed.Holds(text, secret) }); i >= 0 {
		t.Errorf("the secret %q is in the shim's %s:\n%s", canaries.secrets[i], where, text)
	}
}
