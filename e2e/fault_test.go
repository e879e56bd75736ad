package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// fault is an unreliable registry and the shim's reason for not using it.
type fault struct {
	name   string
	fault  testbed.Fault
	host   string        // in its certificate; empty for plain HTTP
	valid  time.Duration // of its certificate, from now
	reason string        // in the list of attempts
	race   string        // another possible reason, depending on timing
	stalls bool          // a pull from it does not end
}

func faults() []fault {
	const page = "<html><body>It works!</body></html>"
	header := func(key, value string) http.Header { return http.Header{key: {value}} }
	return []fault{
		{name: "refused", fault: nil, reason: "could not ask: dial tcp"},
		{name: "black hole", fault: testbed.Hang, reason: "could not ask: no answer within"},
		{name: "10 s slow", fault: testbed.Slow(10 * time.Second), reason: "could not ask: no answer within"},
		{name: "headers drip", fault: testbed.DripHeaders, reason: "could not ask: no answer within"},
		{name: "blobs drip", fault: testbed.OnBlobs(testbed.DripBody), reason: "pull failed", stalls: true},
		{name: "reset in the middle of manifests", fault: testbed.OnManifests(testbed.OnGET(testbed.ResetBody)), reason: "pull failed"},
		{name: "reset in the middle of blobs", fault: testbed.OnBlobs(testbed.ResetBody), reason: "pull failed"},
		{name: "301 loop", fault: testbed.RedirectLoop, reason: "could not ask: stopped after 10 redirects"},
		{name: "401 with a broken challenge", fault: testbed.Answer(401, header("Www-Authenticate", `Bearer realm="`), ""), reason: "could not ask"},
		{name: "403", fault: testbed.Answer(403, nil, ""), reason: "could not ask: answered 403"},
		{name: "404", fault: testbed.OnManifests(testbed.Answer(404, nil, "")), reason: "absent"},
		{name: "429 with Retry-After", fault: testbed.Answer(429, header("Retry-After", "3600"), ""), reason: "could not ask: answered 429"},
		{name: "500", fault: testbed.Answer(500, nil, ""), reason: "could not ask: answered 500"},
		{name: "503", fault: testbed.Answer(503, nil, ""), reason: "could not ask: answered 503"},
		{name: "wrong certificate", fault: testbed.Healthy, host: "other.example.com", valid: 24 * time.Hour, reason: "could not ask: certificate verification failed"},
		{name: "expired certificate", fault: testbed.Healthy, host: "127.0.0.1", valid: -24 * time.Hour, reason: "could not ask: certificate verification failed"},
		{name: "HTML with 200", fault: testbed.Answer(200, header("Content-Type", "text/html"), page), reason: "could not ask: answered with \"text/html\""},
		{name: "blobs missing", fault: testbed.OnBlobs(testbed.Answer(404, nil, "")), reason: "pull failed"},
		{name: "blobs 503", fault: testbed.OnBlobs(testbed.Answer(503, nil, "")), reason: "pull failed"},
		{name: "blobs 429", fault: testbed.OnBlobs(testbed.Answer(429, header("Retry-After", "1"), "")), reason: "pull failed"},
		{name: "manifests 503", fault: testbed.OnManifests(testbed.OnGET(testbed.Answer(503, nil, ""))), reason: "pull failed"},
		{name: "other platforms only", fault: testbed.Healthy, reason: "pull failed"},
		{name: "manifest of another digest", fault: testbed.OnManifests(testbed.OnGET(testbed.AlterBody)), reason: "pull failed"},
		{name: "blobs of another digest", fault: testbed.OnBlobs(testbed.AlterBody), reason: "pull failed"},
	}
}

// faultTimeout bounds attempts that may be followed by others. An attempt that does not
// end leaves a tenth of it to the others.
const faultTimeout = 40 * time.Second

// position is the place of a faulty registry among the sources of an image.
type position struct {
	name       string
	repository string            // format of the repository, with the fault's number
	next       *testbed.Registry // the next source, which has the image too
	source     string            // the next source in the shim's log
}

// TestFaults uses a registry with each fault as the best of several and as the only one.
// Pulls get the image from the next registry or the original, or fail with the error that
// the runtime returns without the shim. Other calls are not affected. One shim serves all
// cases; it asks each faulty registry for a different image.
func TestFaults(t *testing.T) {
	positions := []position{
		{"best of several", "several/fault-%d", shared.private, shared.private.Address()},
		{"only one", "only/fault-%d", shared.upstream, "docker.io"},
	}
	ids := make(map[string]string)
	for i := range faults() {
		for _, at := range positions {
			repository := fmt.Sprintf(at.repository, i)
			ids[repository] = pushSmall(t, at.next, repository+":1")
		}
	}
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		t.Parallel()
		configuration := fmt.Sprintf("debug: true\nlookupTimeout: 2s\ntimeout: %v\nregistries:\n"+
			"- address: %s\n  auth: %q\n  match: docker.io/several\n", faultTimeout, shared.private.Address(), privateUser+":"+privatePassword)
		registries := make(map[string]*testbed.FaultyRegistry)
		for i, f := range faults() {
			for _, at := range positions {
				repository := fmt.Sprintf(at.repository, i)
				registry, entry := f.start(t, repository)
				registries[repository] = registry
				configuration += entry + "  priority: 900\n  match: docker.io/" + repository + "\n"
			}
		}
		n := newNode(t, runtime, configuration)
		if runtime == shared.containerd {
			t.Cleanup(func() { n.wantNoNamesOf(t, registries) })
		}
		for i, f := range faults() {
			for _, at := range positions {
				t.Run(f.name+" "+at.name, func(t *testing.T) {
					t.Parallel()
					repository := fmt.Sprintf(at.repository, i)
					f.wantPull(t, n, registries[repository], "docker.io/"+repository, ids[repository], at.source)
					if at.source == "docker.io" && !f.stalls {
						f.wantError(t, n, registries[repository], "docker.io/"+repository+":nowhere-else")
					}
				})
			}
		}
	})
}

// wantNoNamesOf requires that containerd has no names of registries whose pulls have failed.
func (n *node) wantNoNamesOf(t *testing.T, registries map[string]*testbed.FaultyRegistry) {
	t.Helper()
	store, err := testbed.OpenImageStore(n.runtime.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	eventually(t, func() string { // the last names are deleted after the pull's answer
		records, err := store.Images(testContext(t))
		if err != nil {
			return err.Error()
		}
		for _, record := range records {
			for _, registry := range registries {
				if _, host, _ := strings.Cut(registry.Address(), "://"); strings.HasPrefix(record.Name, host+"/") {
					return "containerd has the name " + record.Name
				}
			}
		}
		return ""
	})
}

// pushSmall pushes a unique image and returns its ID.
func pushSmall(t *testing.T, registry *testbed.Registry, repository string) string {
	t.Helper()
	image, err := testbed.SmallImage(repository + " of " + registry.Host())
	if err != nil {
		t.Fatal(err)
	}
	if err := registry.Push(testContext(t), repository, image); err != nil {
		t.Fatal(err)
	}
	return hash(t, image.ConfigName)
}

// start starts the registry with images that can't be pulled from it, and returns its entry
// in the configuration.
func (f fault) start(t *testing.T, repository string) (*testbed.FaultyRegistry, string) {
	t.Helper()
	authority := filepath.Join(t.TempDir(), "ca.pem")
	var certificate *tls.Certificate
	trust := ""
	if f.host != "" {
		var err error
		if certificate, err = testbed.Certificate(authority, f.host, time.Now().Add(f.valid)); err != nil {
			t.Fatal(err)
		}
		trust = "  ca: " + authority + "\n"
	}
	registry := testbed.StartFaultyRegistry(f.fault, certificate)
	t.Cleanup(registry.Close)
	image, err := testbed.SmallImage("of a registry with a fault: " + repository)
	if err != nil {
		t.Fatal(err)
	}
	var content remote.Taggable = image
	if f.name == "other platforms only" {
		content = mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "plan9", Architecture: "mips"}},
		})
	}
	for _, tag := range []string{"1", "nowhere-else"} {
		if err := registry.Push(testContext(t), repository+":"+tag, content); err != nil {
			t.Fatal(err)
		}
	}
	if f.fault == nil {
		if err := registry.RefuseConnections(); err != nil {
			t.Fatal(err)
		}
	}
	return registry, "- address: " + registry.Address() + "\n" + trust
}

// wantPull requires that a pull gets the image from the source after the registry.
func (f fault) wantPull(t *testing.T, n *node, registry *testbed.FaultyRegistry, repository, id, source string) {
	t.Helper()
	name := repository + ":1"
	pull := func(reason string) {
		t.Helper()
		if got := n.pull(t, n.through, name, callerLogin); got != id {
			t.Errorf("pulled image %s, want %s", got, id)
		}
		decision := n.decision(t, name)
		begins := func(reason string) bool { return strings.Contains(decision.Reason, registry.Address()+" ("+reason) }
		if decision.Registry != source || !begins(reason) && (f.race == "" || !begins(f.race)) {
			t.Errorf("the shim logged %+v, want registry %s and the reason %q of %s", decision, source, reason, registry.Address())
		}
	}
	pull(f.reason)
	asked := registry.Requests()
	n.wantStatus(t, name, id)
	n.wantStatus(t, id, id)
	if images := n.list(t, n.through); len(images) == 0 {
		t.Error("the image list is empty")
	}
	n.remove(t, n.through, name)
	if got := n.status(t, n.through, name); got != nil {
		t.Errorf("after its removal: got %v, want no image", got)
	}
	if now := registry.Requests(); now != asked {
		t.Errorf("the registry received %d requests for an image that is present", now-asked)
	}
	if f.stalls {
		if source == "docker.io" {
			pull("found: comes last until ")
		} else if got := n.pull(t, n.through, name, callerLogin); got != id {
			t.Errorf("pulled image %s again, want %s", got, id)
		}
		if now := registry.Requests(); now > asked+1 {
			t.Errorf("the registry whose pulls come last received %d requests, want at most one lookup", now-asked)
		}
	}
}

// wantError requires, for an image that no other registry has, the error that the runtime
// returns without the shim, followed by the attempts.
func (f fault) wantError(t *testing.T, n *node, registry *testbed.FaultyRegistry, name string) {
	t.Helper()
	request := &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: name}, Auth: callerLogin}
	_, want := runtimeapi.NewImageServiceClient(n.direct.Connection).PullImage(testContext(t), request)
	_, got := runtimeapi.NewImageServiceClient(n.through.Connection).PullImage(testContext(t), request)
	if want == nil {
		t.Fatal("the runtime pulled the image without the shim")
	}
	text := status.Convert(got).Message()
	if !sameError(got, want) || !strings.Contains(text, "; image-cri-shim tried before: "+registry.Address()+" (") {
		t.Errorf("got  %v\nwant %v followed by the attempts", got, want)
	}
	if strings.Contains(text, "\n") {
		t.Errorf("the error has several lines: %q", text)
	}
}

// TestHEADRefused uses a registry that answers only GET, which is sufficient for lookups.
// Whether it is sufficient for pulls depends on the runtime.
func TestHEADRefused(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		f := fault{name: "HEAD refused", fault: testbed.RefuseHEAD}
		registry, entry := f.start(t, "library/nginx")
		if err := registry.Push(testContext(t), "library/nginx:1.25", shared.images[shared.private.Host()+"/library/nginx:1.25"]); err != nil {
			t.Fatal(err)
		}
		n := newNode(t, runtime, "debug: true\nregistries:\n"+entry)
		n.pull(t, n.through, "nginx:1.25", callerLogin)
		decision := n.decision(t, "nginx:1.25")
		if served := decision.Registry == registry.Address(); !served && !strings.Contains(decision.Reason, registry.Address()+" (pull failed") {
			t.Errorf("the shim logged %+v: the lookup failed", decision)
		}
	})
}
