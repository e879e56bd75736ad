package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

func TestPullFromPrivateRegistry(t *testing.T) {
	digest := shared.digest(t, shared.private, "library/nginx:1.25")
	for _, test := range []struct {
		name     string
		asked    string
		image    string // its repository and tag in the private registry
		repoTags []string
	}{
		{"short", "nginx", "library/nginx:latest", []string{"docker.io/library/nginx:latest"}},
		{"tagged", "nginx:1.25", "library/nginx:1.25", []string{"docker.io/library/nginx:1.25"}},
		{"full", "docker.io/library/nginx:1.25", "library/nginx:1.25", []string{"docker.io/library/nginx:1.25"}},
		{"digest", "nginx@" + digest, "library/nginx:1.25", nil},
		{"tag and digest", "nginx:1.25@" + digest, "library/nginx:1.25", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			onEachRuntime(t, func(t *testing.T, runtime runtime) {
				n := newNode(t, runtime, privateConfiguration())
				want := shared.id(t, shared.private, test.image)
				if got := n.pull(t, n.through, test.asked, nil); got != want {
					t.Fatalf("pulled image %s, want %s", got, want)
				}
				n.wantStatus(t, test.asked, want)

				byName, byID := n.status(t, n.through, test.asked), n.status(t, n.through, want)
				if !proto.Equal(byName, byID) {
					t.Errorf("status by name and by ID differ:\n%v\n%v", byName, byID)
				}
				if !slices.Equal(byName.RepoTags, test.repoTags) {
					t.Errorf("got tags %q, want %q", byName.RepoTags, test.repoTags)
				}
				if want := []string{"docker.io/library/nginx@" + shared.digest(t, shared.private, test.image)}; !slices.Equal(byName.RepoDigests, want) {
					t.Errorf("got digests %q, want %q", byName.RepoDigests, want)
				}
				decision := n.decision(t, test.asked)
				if decision.Registry != shared.private.Address() || !strings.HasPrefix(decision.Served, shared.private.Host()+"/library/nginx") {
					t.Errorf("the shim logged %+v", decision)
				}
				wantCredentials(t, privateUser)
			})
		})
	}
}

// wantCredentials requires that credentials were sent only to the registry that they are for,
// and that exactly these users' credentials were used.
func wantCredentials(t *testing.T, users ...string) {
	t.Helper()
	used := make(map[string]bool)
	check := func(registry string, requests []testbed.Request, username, password string) {
		for _, request := range requests {
			used[request.Username] = true
			if request.Username != "" && (request.Username != username || request.Password != password) {
				t.Errorf("%s received the credentials of %s: %s %s", registry, request.Username, request.Method, request.Path)
			}
		}
	}
	check("the private registry", shared.private.Requests(), privateUser, privatePassword)
	check("docker.io", shared.upstream.Requests(), upstreamUser, upstreamPassword)
	for _, user := range []string{privateUser, upstreamUser} {
		if wanted := slices.Contains(users, user); used[user] != wanted {
			t.Errorf("credentials of %s were used: %v, want %v", user, used[user], wanted)
		}
	}
}

func TestPullOfOriginalOnly(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration())
		want := shared.id(t, shared.upstream, "library/original:1")
		if got := n.pull(t, n.through, "original:1", callerLogin); got != want {
			t.Fatalf("pulled image %s, want %s", got, want)
		}
		n.wantStatus(t, "original:1", want)
		if decision := n.decision(t, "original:1"); decision.Registry != "docker.io" || decision.Served != "docker.io/library/original:1" {
			t.Errorf("the shim logged %+v", decision)
		}
		wantCredentials(t, privateUser, upstreamUser)
	})
}

func TestPrivateRegistryGetsNoCallersCredentials(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration())
		if got, want := n.pull(t, n.through, "nginx:1.25", callerLogin), shared.id(t, shared.private, "library/nginx:1.25"); got != want {
			t.Errorf("pulled image %s, want %s", got, want)
		}
		wantCredentials(t, privateUser)
	})
}

func TestPullErrorsAreTheRuntimes(t *testing.T) {
	for _, test := range []struct {
		name, asked string
		auth        *runtimeapi.AuthConfig
	}{
		{"no registry has it", "nowhere:1", callerLogin},
		{"no credentials", "original:1", nil},
		{"wrong password", "original:1", &runtimeapi.AuthConfig{Username: upstreamUser, Password: wrongPassword}},
		{"not a name", "Not//A name", nil},
		{"empty", "", nil},
		{"unknown digest", "nginx@sha256:" + strings.Repeat("0", 64), callerLogin},
		{"zero ID", "sha256:" + strings.Repeat("0", 64), nil},
		{"bare zero ID", strings.Repeat("0", 64), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			onEachRuntime(t, func(t *testing.T, runtime runtime) {
				n := newNode(t, runtime, privateConfiguration())
				request := &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: test.asked}, Auth: test.auth}
				_, want := runtimeapi.NewImageServiceClient(n.direct.Connection).PullImage(testContext(t), request)
				_, got := runtimeapi.NewImageServiceClient(n.through.Connection).PullImage(testContext(t), request)
				if want == nil {
					t.Fatal("the runtime pulled the image without the shim")
				}
				if !sameError(got, want) {
					t.Errorf("got %v\nwant %v", got, want)
				}
			})
		})
	}
}

func TestWrongPasswordFallsBackToOriginal(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, strings.ReplaceAll(privateConfiguration(), privatePassword, wrongPassword))
		want := shared.id(t, shared.upstream, "library/nginx:1.25")
		if got := n.pull(t, n.through, "nginx:1.25", callerLogin); got != want {
			t.Errorf("pulled image %s, want docker.io's %s", got, want)
		}
		n.wantStatus(t, "nginx:1.25", want)
		if decision := n.decision(t, "nginx:1.25"); decision.Registry != "docker.io" || !strings.Contains(decision.Reason, "401") {
			t.Errorf("the shim logged %+v, want a reason with 401", decision)
		}
		for _, request := range shared.upstream.Requests() {
			if request.Username == privateUser {
				t.Errorf("docker.io received the shim's credentials: %s %s", request.Method, request.Path)
			}
		}
	})
}

func TestPullFromSecondRegistry(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration()+fmt.Sprintf("registries:\n- address: %s\n  auth: %s:%s\n",
			shared.upstream.Address(), upstreamUser, upstreamPassword))
		for asked, from := range map[string]*testbed.Registry{"original:1": shared.upstream, "nginx:1.25": shared.private} {
			want := shared.id(t, from, "library/"+asked)
			if got := n.pull(t, n.through, asked, nil); got != want {
				t.Errorf("pulled %s as image %s, want %s", asked, got, want)
			}
			n.wantStatus(t, asked, want)
			if decision := n.decision(t, asked); decision.Registry != from.Address() || decision.Served != from.Host()+"/library/"+asked {
				t.Errorf("the shim logged %+v, want registry %s", decision, from.Address())
			}
		}
		wantCredentials(t, privateUser, upstreamUser)
	})
}

func TestConcurrentPulls(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration())
		want := shared.id(t, shared.private, "library/nginx:1.25")
		var pulls sync.WaitGroup
		for range 20 {
			pulls.Go(func() {
				for _, asked := range []string{"nginx:1.25", "docker.io/library/nginx:1.25"} {
					got, err := n.through.Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: asked}, nil, nil)
					if err != nil || got != want {
						t.Errorf("pull %s: got %s, %v, want %s", asked, got, err, want)
					}
				}
			})
		}
		pulls.Wait()
		n.wantStatus(t, "nginx:1.25", want)
	})
}
