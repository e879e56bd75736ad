package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

const password = "canary:passw0rd"

// startRegistry starts a registry with a password and returns its host and port.
func startRegistry(t *testing.T) string {
	t.Helper()
	content := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, given, _ := r.BasicAuth(); user != "admin" || given != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="hub"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
			return
		}
		content.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// logIn writes Docker's configuration with a password for a registry.
func logIn(t *testing.T, host, password string) {
	t.Helper()
	folder := t.TempDir()
	content, err := json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{"username": "admin", "password": password}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "config.json"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", folder)
}

func TestPush(t *testing.T) {
	for repository, tag := range map[string]string{"team/agent": imageVersion, "team/agent:stable": "stable"} {
		host := startRegistry(t)
		logIn(t, host, password)
		_, printed, err := build(t, writeFiles(t, 0o600), "--push", host+"/"+repository)
		if err != nil {
			t.Fatal(err)
		}
		digest := printedDigest(t, printed)
		if want := "pushed: " + host + "/team/agent:" + tag + "@" + digest + "\n"; !strings.Contains(printed, want) {
			t.Errorf("got %q, want %q", printed, want)
		}
		reference, err := name.ParseReference(host + "/team/agent:" + tag)
		if err != nil {
			t.Fatal(err)
		}
		descriptor, err := remote.Get(reference, remote.WithAuth(&authn.Basic{Username: "admin", Password: password}))
		if err != nil || descriptor.Digest.String() != digest {
			t.Fatalf("the registry has %v (%v), want %s", descriptor, err, digest)
		}
		index, err := descriptor.ImageIndex()
		if err != nil {
			t.Fatal(err)
		}
		manifest, err := index.IndexManifest()
		if err != nil || len(manifest.Manifests) != 2 {
			t.Fatalf("the registry has the index %v (%v), want two images", manifest, err)
		}
		for _, descriptor := range manifest.Manifests {
			image, err := index.Image(descriptor.Digest)
			if err != nil {
				t.Fatal(err)
			}
			checkFiles(t, image, descriptor.Platform.Architecture)
		}
	}
}

// TestRefusedPush requires that the error of a refused push names the target and the remedy,
// and has no password.
func TestRefusedPush(t *testing.T) {
	host := startRegistry(t)
	logIn(t, host, "canary-wrong")
	_, printed, err := build(t, writeFiles(t, 0o600), "--push", host+"/agent")
	if err == nil || !strings.Contains(err.Error(), "push to "+host+"/agent:"+imageVersion+": the registry refuses the credentials for "+host+"; run `docker login "+host+"`") ||
		!strings.Contains(err.Error(), "401") || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
	if strings.Contains(printed, "pushed") {
		t.Errorf("a refused push prints %q", printed)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) {
	return r(request)
}

// TestPlainHTTP requires that no request without TLS leaves the machine.
func TestPlainHTTP(t *testing.T) {
	for url, permitted := range map[string]bool{
		"http://127.0.0.1:5000/v2/":  true,
		"http://localhost:5000/v2/":  true,
		"http://[::1]:5000/v2/":      true,
		"https://10.0.0.1/v2/":       true,
		"http://10.0.0.1:5000/v2/":   false,
		"http://hub.example/v2/":     false,
		"http://localhost.evil/v2/":  false,
		"http://192.168.1.1:80/v2/":  false,
		"http://127.0.0.1.evil/path": false,
	} {
		sent := false
		client := encrypted{roundTripper(func(*http.Request) (*http.Response, error) {
			sent = true
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		})}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.RoundTrip(request)
		if err == nil {
			_ = response.Body.Close()
		}
		if sent != permitted || (err == nil) != permitted {
			t.Errorf("%s: sent: %v, error: %v", url, sent, err)
		}
		if !permitted && !strings.Contains(err.Error(), "PLAIN_HTTP=1") {
			t.Errorf("the error names no remedy: %v", err)
		}
	}
}
