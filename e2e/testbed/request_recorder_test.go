package testbed

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestContainsSecret(t *testing.T) {
	const secret = "canary?a secret/with signs"
	for _, user := range []string{"", "a", "ab", "abc"} {
		for _, text := range []string{user + secret, base64.StdEncoding.EncodeToString([]byte(user + secret + user))} {
			if !ContainsSecret([]byte("some "+text+" text"), secret) {
				t.Errorf("not found in %q", text)
			}
			if ContainsSecret([]byte("some "+strings.ToUpper(text)+" text"), secret) {
				t.Errorf("found in another text than %q", text)
			}
		}
	}
}
