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
				t.Errorf("ContainsSecret: secret not found in %q", text)
			}
			if ContainsSecret([]byte("some "+strings.ToUpper(text)+" text"), secret) {
				t.Errorf("ContainsSecret: found in the upper-case form of %q", text)
			}
		}
	}
}
