package registry_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"image-cri-shim/registry"
)

// writeAuthFile replaces a file atomically, as editors and kubelet do.
func writeAuthFile(t *testing.T, path string, content any) {
	t.Helper()
	data, isText := content.(string)
	if !isText {
		encoded, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		data = string(encoded)
	}
	if err := os.WriteFile(path+".new", []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

type object = map[string]any

// encoded returns a login as written by docker login.
func encoded(user, secret string) object {
	return object{"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + secret))}
}

func TestAuthFile(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	server := serve(t, basicAuth(contents))
	right := registry.Credentials{Username: username, Password: password, ServerAddress: server.URL}
	wrong := encoded(username, "canary-wrong")
	tests := map[string]struct {
		auths object
		found bool
	}{
		"host":             {object{server.host(): encoded(username, password)}, true},
		"URL":              {object{"https://" + server.host() + "/v1/": encoded(username, password)}, true},
		"plain":            {object{server.host(): object{"username": username, "password": password}}, true},
		"longest prefix":   {object{server.host(): wrong, server.host() + "/library": encoded(username, password)}, true},
		"repository":       {object{server.host() + "/library": wrong, server.host() + "/library/nginx": encoded(username, password)}, true},
		"another's prefix": {object{server.host() + "/lib": encoded(username, password)}, false},
		"another host":     {object{"example.com": encoded(username, password)}, false},
		"wrong":            {object{server.host(): wrong}, false},
		"none":             {object{}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.json")
			writeAuthFile(t, path, object{"auths": test.auths})
			set := newSet(t, registry.Options{Registries: []registry.Config{{Address: server.URL, AuthFile: path}}})
			for range 2 { // the second answer is cached
				answer := findOne(t, set, "nginx:1.25")
				if (answer.State == registry.Found) != test.found {
					t.Fatalf("%v (%v), want found: %v", answer.State, answer.Err, test.found)
				}
				if test.found && answer.Credentials != right {
					t.Errorf("%v, want %v", answer.Credentials, right)
				}
				checkNoSecret(t, fmt.Sprint(answer))
			}
		})
	}
}

func TestAuthFileThatChanges(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	contents.push(t, "library/redis:7")
	server := serve(t, basicAuth(contents))
	path := filepath.Join(t.TempDir(), "config.json")
	var warnings []string
	set := newSet(t, registry.Options{
		Registries: []registry.Config{{Address: server.URL, AuthFile: path}},
		OnAuthFile: func(err error) { warnings = append(warnings, err.Error()) },
	})
	expect := func(image string, want registry.State, reason string) {
		t.Helper()
		answer := findOne(t, set, image)
		if answer.State != want || !strings.Contains(fmt.Sprint(answer.Err), reason) {
			t.Fatalf("%s: %v (%v), want %v with %q", image, answer.State, answer.Err, want, reason)
		}
		checkNoSecret(t, fmt.Sprint(answer.Err))
	}
	for range 10 { // more failures than open a circuit
		expect("nginx:1.25", registry.Unknown, "credentials: stat "+path[:10])
	}
	writeAuthFile(t, path, `{"auths": "canary`)
	expect("nginx:1.25", registry.Unknown, "Docker's config.json")
	writeAuthFile(t, path, object{"auths": object{server.host(): encoded(username, "canary-old")}})
	expect("nginx:1.25", registry.Unknown, "configured credentials rejected")
	writeAuthFile(t, path, object{"auths": object{server.host(): encoded(username, password)}})
	expect("nginx:1.25", registry.Found, "")
	writeAuthFile(t, path, `{"auths": "canary`)
	expect("nginx:1.25", registry.Found, "")
	expect("redis:7", registry.Found, "")
	writeAuthFile(t, path, object{"auths": object{server.host(): encoded(username, "canary-new")}})
	if answer := findOne(t, set, "nginx:1.25"); !answer.Cached || answer.Credentials.Password != "canary-new" {
		t.Errorf("cached answer with %v, cached: %v, want the new password", answer.Credentials, answer.Cached)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], path) || !strings.Contains(warnings[0], "last good") {
		t.Errorf("warnings %q, want one of %s", warnings, path)
	}
	checkNoSecret(t, strings.Join(warnings, " "))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect("nginx:1.25", registry.Found, "")
}

// An identity token is exchanged at the token server. A registry token is sent unchanged.
func TestAuthFileTokens(t *testing.T) {
	const identity, token = "canary-identity", "canary-registry"
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	mux := http.NewServeMux()
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.FormValue("grant_type") != "refresh_token" || r.FormValue("refresh_token") != identity {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"access_token": token})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test"`, r.Host))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		contents.ServeHTTP(w, r)
	})
	server := serve(t, mux)
	withUser := encoded("00000000-0000-0000-0000-000000000000", "")
	withUser["identitytoken"] = identity
	tests := map[string]struct {
		login object
		want  registry.Credentials
	}{
		"identity":               {object{"identitytoken": identity}, registry.Credentials{IdentityToken: identity, ServerAddress: server.URL}},
		"identity beside a user": {withUser, registry.Credentials{IdentityToken: identity, ServerAddress: server.URL}},
		"registry":               {object{"registrytoken": token}, registry.Credentials{RegistryToken: token, ServerAddress: server.URL}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.json")
			writeAuthFile(t, path, object{"auths": object{server.host(): test.login}})
			set := newSet(t, registry.Options{Registries: []registry.Config{{Address: server.URL, AuthFile: path}}})
			answer := findOne(t, set, "nginx:1.25")
			if answer.State != registry.Found || answer.Credentials != test.want {
				t.Errorf("%v (%v) with %v, want it found with %v", answer.State, answer.Err, answer.Credentials, test.want)
			}
			for _, verb := range []string{"%v", "%+v", "%#v", "%x"} {
				checkNoSecret(t, fmt.Sprintf(verb, answer))
			}
		})
	}
}

// Kubernetes mounts a secret as a link to a link to a folder, and replaces the second link.
func TestAuthFileOfASecret(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	server := serve(t, basicAuth(contents))
	volume := t.TempDir()
	path := filepath.Join(volume, "config.json")
	swap := func(folder, secret string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(volume, folder), 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(volume, folder, "config.json")
		writeAuthFile(t, file, object{"auths": object{server.host(): encoded(username, secret)}})
		// Both contents have the same modification time and size.
		if err := os.Chtimes(file, time.Time{}, time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(folder, filepath.Join(volume, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(volume, "..data_tmp"), filepath.Join(volume, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	swap("..1", strings.Repeat("x", len(password)))
	if err := os.Symlink("..data/config.json", path); err != nil {
		t.Fatal(err)
	}
	set := newSet(t, registry.Options{Registries: []registry.Config{{Address: server.URL, AuthFile: path}}})
	if answer := findOne(t, set, "nginx:1.25"); answer.State != registry.Unknown {
		t.Fatalf("with the first secret: %v, want it unknown", answer.State)
	}
	swap("..2", password)
	if answer := findOne(t, set, "nginx:1.25"); answer.State != registry.Found {
		t.Errorf("with the second one: %v (%v), want it found", answer.State, answer.Err)
	}
}

// Credentials from patterns, .dockercfg and a Secret's manifest are accepted by a registry.
// Unusable entries are reported with the file and the key.
func TestAuthFileForms(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	server := serve(t, basicAuth(contents))
	login := encoded(username, password)
	config := object{"auths": object{server.host(): login}}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]any{
		"pattern":    object{"auths": object{strings.Replace(server.host(), "127.0.", "*.?.", 1): login}},
		"flat":       object{server.host(): login},
		"data":       object{"kind": "Secret", "data": object{".dockerconfigjson": base64.StdEncoding.EncodeToString(text)}},
		"stringData": "kind: Secret\nstringData:\n  .dockerconfigjson: '" + string(text) + "'\n",
		"one of two": object{"auths": object{server.host(): login, "other.example.com": object{"auth": "canary!"}}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.json")
			writeAuthFile(t, path, content)
			set := newSet(t, registry.Options{Registries: []registry.Config{
				{Address: server.URL, AuthFile: path}, {Address: server.URL + "/mirror", AuthFile: path},
			}})
			if answer := find(t, set, "nginx:1.25")[0]; answer.State != registry.Found || answer.Credentials.Password != password {
				t.Errorf("%v (%v), want it found", answer.State, answer.Err)
			}
			problems, want := set.AuthFileProblems(), []string{}
			if name == "one of two" {
				want = append(want, path+`: auths["other.example.com"]: auth is not user:password in base64`)
			}
			if !slices.Equal(problems, want) && len(problems)+len(want) > 0 {
				t.Errorf("problems %q, want %q", problems, want)
			}
		})
	}
}
