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

// TestRedirectsCarryNoCredentials uses a registry that redirects lookups or the runtime's
// pulls to storage on another host. The host has another name, because containerd 2 treats
// another port of the same name as the same host.
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
						t.Error("the storage received no request, so the test proves nothing")
					}
					for _, request := range requests {
						if strings.Contains(strings.ToLower(string(request)), "\nauthorization:") {
							t.Errorf("the storage received credentials:\n%s", request)
						}
					}
					wantNoLeakedSecrets(t, kind, []*authRegistry{r}, private)
				})
			})
		}
	}
}

// echo is a hostile handler that answers with the credentials it received.
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

// TestEchoedSecretsAreNotShown uses a registry that echoes the credentials it received to
// the shim and to the runtime. The shim forwards the runtime's error.
func TestEchoedSecretsAreNotShown(t *testing.T) {
	for name, fault := range map[string]testbed.Fault{
		"lookups":   testbed.OnManifests(echo),
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
						t.Fatal("the pull succeeded, want an error")
					}
					wantNoSecret(t, "error", []byte(err.Error()))
				})
			})
		}
	}
}

// TestTokenServerThatEchoes is the same test with a hostile token server: one that echoes
// from the beginning, and one that echoes after the shim has logged in.
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
					t.Fatal("the pull succeeded, want an error")
				}
				wantNoSecret(t, "error", []byte(err.Error()))
				if !r.tokenRequests.Contains(r.password) || asked.Load() <= friendly {
					t.Errorf("the token server received %d requests, so the test proves nothing", asked.Load())
				}
				if r.tokenRequests.Contains(upstreamPassword) || r.registryRequests.Contains(upstreamPassword) {
					t.Error("the client's password was sent")
				}
			})
		})
	}
}
