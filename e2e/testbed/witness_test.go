package testbed

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestHolds(t *testing.T) {
	const secret = "canary?a secret/with signs"
	for _, user := range []string{"", "a", "ab", "abc"} {
		for _, text := range []string{user + secret, base64.StdEncoding.EncodeToString([]byte(user + secret + user))} {
			if !Holds([]byte("some "+text+" text"), secret) {
				t.Errorf("not found in %q", text)
			}
			if Holds([]byte("some "+strings.ToUpper(text)+" text"), secret) {
				t.Errorf("found in another text than %q", text)
			}
		}
	}
}
