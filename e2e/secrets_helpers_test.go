package e2e

import (
	"crypto/rand"
	"slices"
	"sync"
	"testing"

	"image-cri-shim/e2e/testbed"
)

// testSecrets are the secrets of all tests. No output, answer or file of the shim may contain
// one.
var testSecrets = struct {
	mutex   sync.Mutex
	secrets []string
}{secrets: []string{privatePassword, upstreamPassword, wrongPassword}}

// newSecret returns a new secret.
func newSecret(name string) string {
	return registerSecret("canary-" + name + "-" + rand.Text())
}

func registerSecret(secret string) string {
	testSecrets.mutex.Lock()
	defer testSecrets.mutex.Unlock()
	testSecrets.secrets = append(testSecrets.secrets, secret)
	return secret
}

func wantNoSecret(t *testing.T, where string, text []byte) {
	t.Helper()
	testSecrets.mutex.Lock()
	defer testSecrets.mutex.Unlock()
	if i := slices.IndexFunc(testSecrets.secrets, func(secret string) bool { return testbed.ContainsSecret(text, secret) }); i >= 0 {
		t.Errorf("the secret %q is in the shim's %s:\n%s", testSecrets.secrets[i], where, text)
	}
}
