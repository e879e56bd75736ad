package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"image-cri-shim/e2e/testbed"
)

// plainShim builds the shim without the race detector, which multiplies its memory.
var plainShim = sync.OnceValues(func() (string, error) {
	folder := filepath.Join(shared.folder, "plain")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // includes compilation
	defer cancel()
	return testbed.BuildShim(ctx, folder)
})

// newPlainNode is newNode for tests of the shim's peak memory, which must be below limit
// bytes at the end of the test.
func newPlainNode(t *testing.T, runtime runtime, configuration string, limit int64) *node {
	t.Helper()
	binary, err := plainShim()
	if err != nil {
		t.Fatal(err)
	}
	n := newNodeWith(t, runtime, testbed.ShimOptions{Binary: binary, Configuration: configuration})
	t.Cleanup(func() { wantPeak(t, n.shim, limit) })
	return n
}

func wantPeak(t *testing.T, shim *testbed.Shim, limit int64) {
	t.Helper()
	peak, err := shim.PeakMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the shim's peak memory was %d MiB", peak>>20)
	if peak > limit {
		t.Errorf("the shim's peak memory was %d MiB, want at most %d", peak>>20, limit>>20)
	}
}

// floods returns registries that try to exhaust the memory of their clients.
func floods(t *testing.T) []fault {
	const (
		manifest  = "Content-Type: application/vnd.oci.image.manifest.v1+json"
		digest    = "Docker-Content-Digest: sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
		challenge = "Www-Authenticate: Basic realm=\"x\"\r\n"
		unsure    = "could not ask: "
		tooLarge  = unsure + "answered with more than 4194304 bytes"
	)
	tokens := func(fault testbed.Fault) testbed.Fault {
		return testbed.TokenLogin(toLocalhost(startFaultyRegistry(t, fault).Address())+"/token", "never", testbed.Healthy)
	}
	onlyGET := func(fault testbed.Fault) testbed.Fault {
		return testbed.OnManifests(func(response http.ResponseWriter, request *http.Request, next http.Handler) {
			testbed.RefuseHEAD(response, request, handlerOf(testbed.OnGET(fault), next))
		})
	}
	return []fault{
		{name: "an endless header", fault: testbed.Flood("HTTP/1.1 200 OK\r\nX-Flood: ", "x"), reason: unsure},
		{name: "endless headers", fault: testbed.Flood("HTTP/1.1 401 Unauthorized\r\n", challenge), reason: unsure},
		{name: "thousands of challenges", fault: testbed.Flood("HTTP/1.1 401 Unauthorized\r\n"+strings.Repeat(challenge, 1500)+"Content-Length: 999999999\r\n\r\n", "x"), reason: unsure},
		{name: "endless early hints", fault: testbed.Flood("", "HTTP/1.1 103 Early Hints\r\nX-Flood: x\r\n\r\n"), reason: unsure},
		{name: "an endless chunk extension", fault: onlyGET(testbed.Flood("HTTP/1.1 200 OK\r\n"+manifest+"\r\nTransfer-Encoding: chunked\r\n\r\n1;", "x")), reason: unsure},
		{name: "endless trailers", fault: onlyGET(testbed.Flood("HTTP/1.1 200 OK\r\n"+manifest+"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X: y\r\n")), reason: unsure},
		// The body may be read as the answer to the GET that follows on the same connection.
		{name: "a body after HEAD", fault: testbed.OnManifests(testbed.FloodBody("200 OK", manifest)), reason: tooLarge, race: unsure + "net/http: HTTP/1.x transport connection broken: malformed HTTP response"},
		{name: "an endless manifest", fault: onlyGET(testbed.FloodBody("200 OK", manifest, digest)), reason: tooLarge},
		{name: "a gzip bomb as manifest", fault: onlyGET(testbed.Bomb("200 OK", manifest)), reason: tooLarge},
		{name: "an endless error", fault: testbed.FloodBody("403 Forbidden"), reason: unsure},
		{name: "a gzip bomb as error", fault: testbed.Bomb("403 Forbidden"), reason: unsure},
		{name: "an endless token", fault: tokens(testbed.FloodBody("200 OK", "Content-Type: application/json")), reason: unsure},
		{name: "a gzip bomb as token", fault: tokens(testbed.Bomb("200 OK", "Content-Type: application/json")), reason: unsure},
		{name: "an endless error instead of a token", fault: tokens(testbed.FloodBody("500 Internal Server Error")), reason: unsure},
		{name: "redirects to growing URLs", fault: func(response http.ResponseWriter, request *http.Request, _ http.Handler) {
			http.Redirect(response, request, request.URL.Path+"/"+strings.Repeat("x", 4<<10), http.StatusTemporaryRedirect)
		}, reason: unsure},
	}
}

func handlerOf(fault testbed.Fault, next http.Handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) { fault(response, request, next) })
}

// TestRegistriesThatFlood lets one shim look up images in many such registries at once. Each
// lookup ends, the image comes from the original, and the shim's memory stays low.
func TestRegistriesThatFlood(t *testing.T) {
	const limit = 128 << 20
	const name = "only/flood-%d"
	configuration := "debug: true\nlookupTimeout: 2s\nregistries:\n"
	all := floods(t)
	registries, ids := make([]*testbed.FaultyRegistry, len(all)), make([]string, len(all))
	for i, f := range all {
		repository := fmt.Sprintf(name, i)
		ids[i] = pushSmall(t, shared.upstream, repository+":1")
		var entry string
		registries[i], entry = f.start(t, repository)
		configuration += entry + "  match: docker.io/" + repository + "\n"
	}
	n := newPlainNode(t, shared.embedded, configuration, limit)
	t.Run("all", func(t *testing.T) {
		for i, f := range all {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				f.wantPull(t, n, registries[i], "docker.io/"+fmt.Sprintf(name, i), ids[i], "docker.io")
			})
		}
	})
}
