package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"image-cri-shim/e2e/testbed"
)

// TestPasswordsOfAnyCharacter logs in to docker-registry with unusual passwords, in each form
// of the configuration.
func TestPasswordsOfAnyCharacter(t *testing.T) {
	const user = "robot$team+ci"
	long := newSecret("long")
	for name, password := range map[string]string{
		"signs":    registerSecret(newSecret("signs") + `:b@c/d%e"f'g\h`),
		"URL":      registerSecret("http://" + newSecret("url") + "@host/%2F%40+&=?#"),
		"spaces":   registerSecret(" " + newSecret("spaces") + "  # "),
		"YAML":     registerSecret("!{[*&" + newSecret("yaml") + ": - |>`$HOME"),
		"UTF-8":    registerSecret(newSecret("utf8") + "-pässwörd-密码-🐤"),
		"72 bytes": registerSecret(long + strings.Repeat("x", 72-len(long))), // bcrypt's maximum
	} {
		t.Run(name, func(t *testing.T) {
			registry, err := testbed.StartRegistry(testContext(t), testbed.RegistryOptions{Folder: t.TempDir(), Username: user, Password: password})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(registry.Stop)
			image := authImage(t, private)
			if err := registry.Push(testContext(t), "library/nginx:1.25", image); err != nil {
				t.Fatal(err)
			}
			for form, configuration := range map[string]string{
				"auth":                        "auth: " + asJSON(t, user+":"+password), // JSON is YAML
				"authFile":                    "authFile: " + authFileOf(t, registry, map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + password))}),
				"authFile, user and password": "authFile: " + authFileOf(t, registry, map[string]string{"username": user, "password": password}),
			} {
				t.Run(form, func(t *testing.T) {
					onEachRuntime(t, func(t *testing.T, runtime runtime) {
						n := newNode(t, runtime, fmt.Sprintf("debug: true\naddress: %s\n%s\n", registry.Address(), configuration))
						if got, want := n.pull(t, n.through, "nginx:1.25", callerLogin), hash(t, image.ConfigName); got != want {
							t.Errorf("pulled image %s, want %s", got, want)
						}
					})
				})
			}
		})
	}
}

func authFileOf(t *testing.T, registry *testbed.Registry, login map[string]string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.json")
	writeLogin(t, file, registry, login)
	return file
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}
