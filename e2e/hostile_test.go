package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// TestRedirectsCarryNoCredentials has a registry send look-ups, or what the
// runtime pulls, to a storage at another host. It has another name, not only
// another port: containerd 2 takes that for the same host.
func TestRedirectsCarryNoCredentials(t *testing.T) {
	for name, part := range map[string]func(testbed.Fault) testbed.Fault{"manifests": testbed.OnManifests, "blobs": testbed.OnBlobs} {
		for _, kind := range []string{basic, bearer} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				onEachRuntime(t, func(t *testing.T, runtime runtime) {
					var storageSaw testbed.RequestRecorder
					storage := (&authRegistry{name: private}).startRegistry(t, storageSaw.Record(testbed.Healthy))
					storage.push(t)
					r := newAuthRegistry(t, private, kind, part(func(response http.ResponseWriter, request *http.Request, _ http.Handler) {
						http.Redirect(response, request, toLocalhost(storage.registry.Address())+request.URL.Path, http.StatusTemporaryRedirect)
					}))
					r.push(t)
					n := newNode(t, runtime, "debug: true\nregistries:\n"+r.configEntry(900, true))
					if got, want := n.pull(t, n.through, repository, callerLogin), hash(t, r.image.ConfigName); got != want {
						t.Errorf("pulled image %s, want %s", got, want)
					}
					requests := storageSaw.Requests()
					if len(requests) == 0 {
						t.Error("the storage was not asked: the test shows nothing")
					}
					for _, request := range requests {
						if strings.Contains(strings.ToLower(string(request)), "\nauthorization:") {
							t.Errorf("the storage was sent credentials:\n%s", request)
						}
					}
					wantNoLeakedSecrets(t, kind, []*authRegistry{r}, private)
				})
			})
		}
	}
}

// echo answers with all that it was sent, as no registry should.
func echo(response http.ResponseWriter, request *http.Request, _ http.Handler) {
	authorization := request.Header.Get("Authorization")
	user, password, _ := request.BasicAuth()
	_ = request.ParseForm()
	response.Header().Set("Docker-Distribution-Api-Version", authorization)
	response.Header().Set("Warning", `299 - "`+password+`"`)
	response.Header().Set("Content-Type", "application/json")
	response.WriteHeader(http.StatusForbidden)
	_, _ = fmt.Fprintf(response, `{"errors":[{"code":"DENIED","message":%q,"detail":%q}]}`,
		user+":"+password+" "+request.Form.Encode(), authorization)
}

// TestEchoedSecretsAreNotShown has a registry send back what it was sent, to the
// shim and to the runtime, whose error the shim passes on.
func TestEchoedSecretsAreNotShown(t *testing.T) {
	for name, fault := range map[string]testbed.Fault{
		"look-ups":  testbed.OnManifests(echo),
		"manifests": testbed.OnManifests(testbed.OnGET(echo)),
		"blobs":     testbed.OnBlobs(echo),
	} {
		for _, fallback := range []string{"original", "never"} {
			t.Run(name+"/"+fallback, func(t *testing.T) {
				onEachRuntime(t, func(t *testing.T, runtime runtime) {
					r := newAuthRegistry(t, private, basic, fault)
					r.push(t)
					source := newAuthRegistry(t, original, basic, echo)
					n := newNode(t, runtime, "debug: true\nfallback: "+fallback+"\nregistries:\n"+r.configEntry(900, true))
					_, err := n.through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: source.host() + "/" + repository}, source.login(), nil)
					if err == nil {
						t.Fatal("it was pulled")
					}
					wantNoSecret(t, "error", []byte(err.Error()))
				})
			})
		}
	}
}

// TestTokenServerThatEchoes is the same with a token server, that a registry names:
// one that is hostile from the beginning, and one that is once the shim has logged in.
func TestTokenServerThatEchoes(t *testing.T) {
	for name, friendly := range map[string]int64{"at once": 0, "to the runtime": 1} {
		t.Run(name, func(t *testing.T) {
			onEachRuntime(t, func(t *testing.T, runtime runtime) {
				var asked atomic.Int64
				r := &authRegistry{name: private, password: newSecret("private-password"), token: newSecret("private-token")}
				tokens := testbed.TokenServer(private, r.password, "", r.token)
				r.tokens = startFaultyRegistry(t, r.tokenRequests.Record(func(response http.ResponseWriter, request *http.Request, next http.Handler) {
					if asked.Add(1) <= friendly {
						tokens(response, request, next)
						return
					}
					echo(response, request, next)
				}))
				r.startRegistry(t, testbed.TokenLogin(r.realm(), r.token, testbed.Healthy)).push(t)
				n := newNode(t, runtime, "debug: true\nfallback: never\nregistries:\n"+r.configEntry(900, true))
				_, err := n.through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: repository}, callerLogin, nil)
				if err == nil {
					t.Fatal("it was pulled")
				}
				wantNoSecret(t, "error", []byte(err.Error()))
				if !r.tokenRequests.Contains(r.password) || asked.Load() <= friendly {
					t.Errorf("the token server was asked %d times: the test shows nothing", asked.Load())
				}
				if r.tokenRequests.Contains(upstreamPassword) || r.registryRequests.Contains(upstreamPassword) {
					t.Error("the caller's password was sent")
				}
			})
		})
	}
}
