package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// pullCase is a state of the node in which a pull of an image of the node fails or
// succeeds, and the doctor's finding in this state.
type pullCase struct {
	name     string
	registry string // configuration of the registry; $HOST is its host, $OTHER that of another registry
	fallback string // of the configuration
	hosts    string // the registry's hosts.toml; empty: one for the registry's address
	fault    testbed.Fault
	tls      bool // the registry speaks TLS; $CA is its certificate
	prepare  func(t *testing.T, registry *testbed.FaultyRegistry)
	fails    bool   // the pull
	check    string // the check that is not OK; empty: none
	level    string
	text     string
	hint     string
}

// pullPatience is how long a pull may take in these states before it counts as failed.
const pullPatience = 5 * time.Second

const pulledImage = "docker.io/doctor/pulled:1"

// TestDoctorPredictsPulls pulls an image of the node through the shim and a real containerd
// in many states of a registry and of containerd's hosts.toml, and compares the result with
// the doctor's report: if the pull fails, the report has a finding that is not OK.
func TestDoctorPredictsPulls(t *testing.T) {
	fixture := newDoctorFixture(t, shared.private.Host()+"/pause:3.9")
	fixture.pullSandbox(t)
	const dead = "http://127.0.0.1:1"
	fixture.writeHosts(t, "docker.io", "server = \""+dead+"\"\n[host.\""+dead+"\"]\n")
	own := "server = \"http://$HOST\"\n[host.\"http://$HOST\"]\n"
	needsLogin := testbed.BasicLogin(privateUser, privatePassword, testbed.Healthy)
	credentials := fmt.Sprintf("  auth: %q\n", privateUser+":"+privatePassword)
	for _, test := range []pullCase{
		{name: "healthy"},
		{name: "healthy with a login", registry: credentials, fault: needsLogin},
		{name: "healthy with never", fallback: "never"},
		{name: "match of no image", registry: "  match: [ghcr.io/team]\n", fallback: "never", fails: true, check: "images", level: "WARN", text: "match: ghcr.io/team fits no image", hint: "correct the key match"},
		{name: "tags of no image", registry: "  tags: [\"v*\"]\n", fails: true, check: "images", level: "WARN", text: "tags: v* fits no image", hint: "correct the key tags"},
		{name: "path to nothing", registry: "  path: \"wrong/{path}\"\n", fallback: "never", fails: true, check: "images", level: "WARN", text: "has none of the images on the node that it is asked for (1), such as " + pulledImage + " as $HOST/wrong/doctor/pulled:1", hint: "correct the key path"},
		{name: "no image with never", prepare: nothing, fallback: "never", fails: true, check: "fallback", level: "FAIL", text: pulledImage, hint: "push the images"},
		{name: "healthy with TLS", tls: true, registry: "  ca: $CA\n", hosts: "server = \"https://$HOST\"\n[host.\"https://$HOST\"]\nca = \"$CA\"\n", fallback: "never"},
		{name: "authority unknown to the runtime", tls: true, registry: "  ca: $CA\n", hosts: "server = \"https://$HOST\"\n[host.\"https://$HOST\"]\n", fallback: "never", fails: true, check: "runtime's trust", level: "FAIL", text: "does not trust the host's certificate", hint: "$CA"},
		{name: "dead host alone", hosts: "server = \"" + dead + "\"\n[host.\"" + dead + "\"]\n", fallback: "never", fails: true, check: "runtime's trust", level: "FAIL", text: dead, hint: "hosts.toml"},
		{name: "dead host first", hosts: "server = \"http://$HOST\"\n[host.\"" + dead + "\"]\n", check: "runtime's trust", level: "WARN", text: "first tries a route that fails: " + dead, hint: "remove it"},
		{name: "path of another API", hosts: "server = \"http://$HOST/wrong/more\"\n[host.\"http://$HOST/wrong/more\"]\noverride_path = true\n", fallback: "never", fails: true, check: "pull", level: "FAIL", text: "hosts.toml: the runtime can't pull $HOST/doctor/pulled:1, which the registry has: http://$HOST: the host answered 404", hint: "correct the hosts in"},
		{name: "mirror without the image", hosts: "server = \"http://$HOST\"\n[host.\"http://$OTHER\"]\n", check: "runtime's trust", level: "WARN", text: "pulls from $OTHER"},
		{name: "mirror alone without the image", hosts: "server = \"http://$OTHER\"\n[host.\"http://$OTHER\"]\n", fallback: "never", fails: true, check: "pull", level: "FAIL", text: "http://$OTHER: the host answered 404", hint: "correct the hosts in"},
		{name: "web server in place of the mirror", hosts: "server = \"http://$HOST\"\n[host.\"http://$WEB\"]\n", fallback: "never", fails: true, check: "pull", level: "FAIL", text: "not with an image manifest", hint: "correct the hosts in"},
		{name: "mirror that denies the image", hosts: "server = \"http://$HOST\"\n[host.\"http://$DENYING\"]\n", fallback: "never", check: "pull", level: "WARN", text: "first tries a route that fails: http://$DENYING: the host answered 403", hint: "remove it"},
		{name: "mirror that accepts and hangs", hosts: "server = \"http://$HOST\"\n[host.\"http://$HANGING\"]\n", fallback: "never", fails: true, check: "runtime's trust", level: "FAIL", text: "http://$HANGING: the host accepts the connection, but does not answer", hint: "remove it"},
		{name: "mirror that hangs on manifests", hosts: "server = \"http://$HOST\"\n[host.\"http://$STUCK\"]\n", fallback: "never", fails: true, check: "pull", level: "FAIL", text: "http://$STUCK: the host accepts the connection, but does not answer", hint: "remove those that fail"},
		{name: "header of hosts.toml", hosts: own + "[host.\"http://$HOST\".header]\nx-key = \"canary-header\"\n", fault: withHeader},
		{name: "GET of manifests fails", fault: testbed.OnGET(testbed.OnManifests(testbed.Answer(http.StatusForbidden, nil, ""))), fallback: "never", fails: true, check: "pull", level: "FAIL", text: "403 Forbidden", hint: "set auth to an account that may pull the image"},
		{name: "login accepted, repository denied", registry: credentials, fault: testbed.BasicLogin(privateUser, privatePassword, testbed.OnManifests(testbed.Answer(http.StatusForbidden, nil, ""))), fallback: "never", fails: true, check: "images", level: "FAIL", text: "403 Forbidden", hint: "set auth to an account that may pull"},
		{name: "another platform", prepare: otherPlatform, fallback: "never", fails: true, check: "pull", level: "FAIL", text: "no variant for linux/", hint: "push the image for this platform"},
		{name: "corrupt manifest", fault: testbed.OnGET(testbed.OnManifests(testbed.AlterBody)), fallback: "never", fails: true, check: "pull", level: "FAIL", text: "does not have the digest", hint: "correct the hosts in"},
		{name: "API in the address", registry: "/v2", fallback: "never", check: "configuration", level: "WARN", text: "the path /v2 is the registry's API"},
		{name: "wrong prefix in the address", registry: "/wrong", fallback: "never", fails: true, check: "fallback", level: "FAIL", text: pulledImage},
		{name: "original registry out of reach", prepare: nothing, fails: true, check: "original", level: "FAIL", text: "such as " + pulledImage + "; they are pulled from docker.io, which the runtime does not reach: dial tcp 127.0.0.1:1", hint: "push these images"},
		{name: "wrong prefix without never", registry: "/wrong", fails: true, check: "images", level: "WARN", text: pulledImage + " as $HOST/wrong/doctor/pulled:1", hint: "correct the path /wrong in the key address"},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, fixture) })
	}
}

func nothing(*testing.T, *testbed.FaultyRegistry) {}

// withHeader answers only requests with the header that containerd adds.
func withHeader(response http.ResponseWriter, request *http.Request, next http.Handler) {
	if strings.HasPrefix(request.UserAgent(), "containerd") && request.Header.Get("X-Key") == "" {
		response.WriteHeader(http.StatusForbidden)
		return
	}
	next.ServeHTTP(response, request)
}

func push(t *testing.T, registry *testbed.FaultyRegistry, content remote.Taggable) {
	t.Helper()
	if err := registry.Push(testContext(t), "doctor/pulled:1", content); err != nil {
		t.Fatal(err)
	}
}

// otherPlatform pushes an index without an image for this machine.
func otherPlatform(t *testing.T, registry *testbed.FaultyRegistry) {
	t.Helper()
	image, err := testbed.SmallImage("other platform")
	if err != nil {
		t.Fatal(err)
	}
	push(t, registry, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}},
	}))
}

func (test pullCase) run(t *testing.T, fixture *doctorFixture) {
	if test.fault == nil {
		test.fault = testbed.Healthy
	}
	n := fixture.newNode(t)
	var certificate *tls.Certificate
	if test.tls {
		var err error
		if certificate, err = testbed.Certificate(n.file("ca.pem"), "127.0.0.1", time.Now().Add(30*24*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	registry := testbed.StartFaultyRegistry(test.fault, certificate)
	other := testbed.StartFaultyRegistry(testbed.Healthy, nil)
	web := testbed.StartFaultyRegistry(testbed.Answer(http.StatusOK, http.Header{"Content-Type": {"text/html"}}, "<p>hello"), nil)
	denying := testbed.StartFaultyRegistry(testbed.OnManifests(testbed.Answer(http.StatusForbidden, nil, "")), nil)
	hanging, stuck := testbed.StartFaultyRegistry(testbed.Hang, nil), testbed.StartFaultyRegistry(testbed.OnManifests(testbed.Hang), nil)
	for _, r := range []*testbed.FaultyRegistry{registry, other, web, denying, hanging, stuck} {
		t.Cleanup(r.Close)
	}
	image, err := testbed.SmallImage("doctor " + test.name)
	if err != nil {
		t.Fatal(err)
	}
	if test.prepare == nil {
		test.prepare = func(t *testing.T, registry *testbed.FaultyRegistry) { push(t, registry, image) }
	}
	test.prepare(t, registry)
	// The layers of the image on the node are others, so that containerd requests them.
	former, err := testbed.SmallImage("former " + test.name)
	if err != nil {
		t.Fatal(err)
	}
	loadImage(t, fixture, former)
	host := func(r *testbed.FaultyRegistry) string {
		_, host, _ := strings.Cut(r.Address(), "://")
		return host
	}
	expand := strings.NewReplacer("$CA", n.file("ca.pem"), "$HOST", host(registry), "$OTHER", host(other), "$WEB", host(web), "$DENYING", host(denying), "$HANGING", host(hanging), "$STUCK", host(stuck)).Replace
	suffix, settings := "", expand(test.registry)
	if strings.HasPrefix(settings, "/") {
		suffix, settings = settings, ""
	}
	n.registryEntries = "- address: " + registry.Address() + suffix + "\n" + settings
	if test.fallback != "" {
		n.settings = "fallback: " + test.fallback + "\n"
	}
	n.settings += "lookupTimeout: 3s\n"
	hosts := test.hosts
	if hosts == "" {
		hosts = "server = \"http://$HOST\"\n[host.\"http://$HOST\"]\n"
	}
	n.writeHosts(t, host(registry), expand(hosts))
	n.start(t, privatePassword)
	findings := n.runDoctor(t)
	test.wantFinding(t, findings, expand)
	ctx, cancel := context.WithTimeout(testContext(t), pullPatience)
	defer cancel()
	_, err = dial(t, n.shim.Socket()).Images.PullImage(ctx, &runtimeapi.ImageSpec{Image: pulledImage}, nil, nil)
	if (err != nil) != test.fails {
		t.Errorf("the pull: %v, want failure %v", err, test.fails)
	}
	if err != nil && len(notOK(findings)) == 0 {
		t.Errorf("the doctor says OK, but the pull fails: %v", err)
	}
}

func (test pullCase) wantFinding(t *testing.T, findings []doctorFinding, expand func(string) string) {
	t.Helper()
	problems := notOK(findings)
	for _, f := range problems {
		if f.Check == test.check && f.Level == test.level && strings.Contains(f.Text, expand(test.text)) && strings.Contains(f.Hint, expand(test.hint)) {
			return
		}
	}
	if test.check != "" || len(problems) > 0 {
		t.Errorf("got %+v,\nwant %s of %s with %q and %q", problems, test.level, test.check, expand(test.text), expand(test.hint))
	}
}

// loadImage adds an image to containerd under its original name, until the test ends.
func loadImage(t *testing.T, fixture *doctorFixture, image v1.Image) {
	t.Helper()
	store, err := testbed.OpenImageStore(fixture.containerd.Socket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if err := store.Load(testContext(t), pulledImage, image); err != nil {
		t.Fatal(err)
	}
	client := dial(t, fixture.containerd.Socket())
	deadline := time.Now().Add(10 * time.Second)
	for { // containerd shows a name some time after it was created
		list, err := client.Images.ListImages(testContext(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range list {
			for _, tag := range i.RepoTags {
				if tag == pulledImage {
					t.Cleanup(func() {
						if err := client.Images.RemoveImage(testContext(t), &runtimeapi.ImageSpec{Image: pulledImage}); err != nil {
							t.Error(err)
						}
					})
					return
				}
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("containerd does not show the loaded image")
		}
		time.Sleep(20 * time.Millisecond)
	}
}
