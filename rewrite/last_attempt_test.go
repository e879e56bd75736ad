package rewrite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/imagename"
)

const second = "second.hub:5000"

// slowNode is a node with a hub and a second registry. A pull from a host takes the time in
// slow.
type slowNode struct {
	*node
	slow map[string]time.Duration
}

func newSlowNode(t *testing.T, slow map[string]time.Duration) slowNode {
	t.Helper()
	n := slowNode{newNode(t), slow}
	lookup := n.rewriter.lookup.(memoryLookup)
	lookup.registries = append(lookup.registries, memoryRegistry{host: second})
	n.registry = &lookup.registries[0]
	n.rewriter.lookup = lookup
	return n
}

// withoutFallback forbids pulls from the original registry.
func (n slowNode) withoutFallback(image string) {
	lookup := n.rewriter.lookup.(memoryLookup)
	lookup.never = []string{image}
	n.rewriter.lookup = lookup
}

// pullSlowly pulls an image, and returns the hosts of the pulls and the time that it took.
func (n slowNode) pullSlowly(ctx context.Context, image string) (pulled []string, took time.Duration, err error) {
	n.t.Helper()
	encoded, err := proto.Marshal(&runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: image}})
	if err != nil {
		n.t.Fatal(err)
	}
	begun := time.Now()
	_, err = n.rewriter.Unary()["/runtime.v1.ImageService/PullImage"](ctx, encoded, func(ctx context.Context, method string, request []byte) ([]byte, error) {
		if !strings.HasSuffix(method, "/PullImage") {
			return n.runtime.invoke(ctx, method, request)
		}
		name, err := imagename.Parse(requested(n.t, request))
		if err != nil {
			n.t.Fatal(err)
		}
		host, _, _ := strings.Cut(name.Name(), "/")
		pulled = append(pulled, host)
		select {
		case <-time.After(n.slow[host]):
			return n.runtime.invoke(ctx, method, request)
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	})
	return pulled, time.Since(begun), err
}

// The timeout cuts off only attempts that another one can follow.
func TestTimeoutBoundsAttemptsWithASuccessor(t *testing.T) {
	const day = 24 * time.Hour
	const image, own = "docker.io/library/nginx:1.25", hub + "/library/nginx:1.25"
	all := []string{hub + "/library/nginx:1.25", second + "/library/nginx:1.25", image}
	for _, test := range []struct {
		name   string
		image  string
		has    []string
		slow   map[string]time.Duration
		never  bool
		want   []string
		within time.Duration
	}{
		{"the original takes a day", image, []string{image}, map[string]time.Duration{"docker.io": day}, false, []string{"docker.io"}, day},
		{"the candidate is cut off, the original is not", image, all[:1:1], nil, false, []string{hub}, time.Second},
		{"a registry hangs, the original takes a day", image, []string{all[0], image}, map[string]time.Duration{hub: 2 * day, "docker.io": day}, false, []string{hub, "docker.io"}, day + 15*time.Minute},
		{"two registries hang", image, all, map[string]time.Duration{hub: 2 * day, second: 2 * day, "docker.io": day}, false, []string{hub, second, "docker.io"}, day + 15*time.Minute},
		{"the only registry takes a day, and the original is forbidden", image, all[:1], map[string]time.Duration{hub: day}, true, []string{hub}, day},
		{"the last registry takes a day, and the original is forbidden", image, all[:2], map[string]time.Duration{hub: 2 * day, second: day}, true, []string{hub, second}, day + 15*time.Minute},
		{"a name on the registry's own host", own, []string{own}, map[string]time.Duration{hub: day}, false, []string{hub}, day},
	} {
		for _, timeout := range []time.Duration{15 * time.Minute, 10 * time.Second, 0} {
			if timeout == 0 && len(test.want) > 1 {
				continue // nothing is cut off
			}
			t.Run(fmt.Sprint(test.name, " ", timeout), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := newSlowNode(t, test.slow)
					n.rewriter.timeout = timeout
					n.push(test.has...)
					if test.never {
						n.withoutFallback("docker.io/library/nginx")
					}
					pulled, took, err := n.pullSlowly(t.Context(), test.image)
					if err != nil || !slices.Equal(pulled, test.want) || took > test.within {
						t.Errorf("pulled from %q within %v (%v), want %q within %v", pulled, took, err, test.want, test.within)
					}
				})
			})
		}
	}
}

// The caller's deadline leaves time for the following attempts, and limits the last one.
func TestCallersDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newSlowNode(t, map[string]time.Duration{hub: time.Hour, "docker.io": time.Second})
		n.push(hub+"/library/nginx:1.25", "docker.io/library/nginx:1.25")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		pulled, took, err := n.pullSlowly(ctx, "nginx:1.25")
		if err != nil || !slices.Equal(pulled, []string{hub, "docker.io"}) || took != 55*time.Second {
			t.Errorf("pulled from %q after %v (%v)", pulled, took, err)
		}
		if !slices.Equal(n.outcomes, []string{"failed " + hub + "/library/nginx:1.25"}) {
			t.Errorf("the Lookup received %q, but the caller's deadline is not a stall", n.outcomes)
		}
	})
}

// A pull counts as stalled after a quarter of the timeout, or if a timeout of the runtime ends
// it, with or without a timeout of the shim.
func TestWhatCountsAsStalled(t *testing.T) {
	const stored = hub + "/library/nginx:1.25"
	for _, test := range []struct {
		name    string
		timeout time.Duration
		ends    time.Duration // when the runtime ends the pull
		want    string
	}{
		{"no timeout, the runtime gives up at once", 0, 0, "failed "},
		{"no timeout, no answer has begun", 0, 30 * time.Second, "failed "},
		{"no timeout, no progress", 0, time.Minute, "stalled "},
		{"a timeout, no answer has begun", 15 * time.Minute, 30 * time.Second, "failed "},
		{"a timeout, no progress", 15 * time.Minute, time.Minute, "stalled "},
		{"a long timeout, no progress", 24 * time.Hour, 5 * time.Minute, "stalled "},
		{"cut off", 15 * time.Minute, time.Hour, "stalled "},
		{"cut off soon", 10 * time.Second, time.Hour, "stalled "},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				n.push(stored, "docker.io/library/nginx:1.25")
				n.rewriter.timeout = test.timeout
				err := n.duringPull(t.Context(), func(ctx context.Context) error {
					select {
					case <-time.After(test.ends):
					case <-ctx.Done():
					}
					return status.Error(codes.Canceled, "context canceled")
				})
				if err != nil || !slices.Equal(n.outcomes, []string{test.want + stored}) {
					t.Errorf("the Lookup received %q (%v), want %q", n.outcomes, err, test.want)
				}
			})
		})
	}
}

// A candidate that is a last resort is pulled after the original. If both fail, the text of the
// error begins with the error of the original.
func TestLastResort(t *testing.T) {
	const stored, image = hub + "/library/nginx:1.25", "docker.io/library/nginx:1.25"
	for _, test := range []struct {
		name     string
		has      []string
		never    bool
		want     []string
		err      string // how the error begins
		registry string // that has served it
	}{
		{"the original has it", []string{stored, image}, false, []string{"docker.io"}, "", "docker.io"},
		{"the original fails", []string{stored}, false, []string{"docker.io", hub}, "", "http://" + hub},
		{"both fail", nil, false, []string{"docker.io", hub}, `failed to pull and unpack image "docker.io/`, ""},
		{"the original is forbidden", []string{stored, image}, true, []string{hub}, "", "http://" + hub},
		{"the original is forbidden, and it fails", nil, true, []string{hub}, `failed to pull and unpack image "` + hub, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := slowNode{newNode(t), nil}
			n.registry.lies, n.registry.lastResort = true, true
			n.push(test.has...)
			if test.never {
				n.withoutFallback("docker.io/library/nginx")
			}
			pulled, _, err := n.pullSlowly(t.Context(), "nginx:1.25")
			if !slices.Equal(pulled, test.want) {
				t.Errorf("pulled from %q, want %q", pulled, test.want)
			}
			text := status.Convert(err).Message()
			if (err == nil) != (test.err == "") || !strings.HasPrefix(text, test.err) {
				t.Errorf("error %v, want one that begins with %q", err, test.err)
			}
			if test.name == "both fail" && (status.Code(err) != codes.NotFound || !strings.Contains(text, "; image-cri-shim tried before: http://"+hub+" (comes last), and after it: http://"+hub+" (pull failed: ")) {
				t.Errorf("error %v", err)
			}
			decision := n.decisions[0]
			if decision.Registry != test.registry || decision.Reason == "" {
				t.Errorf("decision %+v, want the registry %q", decision, test.registry)
			}
		})
	}
}

// If the runtime becomes unavailable during the pull of the original, no other pull follows.
func TestLastResortOfARuntimeThatIsAway(t *testing.T) {
	n := newNode(t)
	n.registry.lies, n.registry.lastResort = true, true
	n.runtime.down = status.Error(codes.Unavailable, "server is not initialized yet")
	_, err := n.pull("nginx:1.25", nil)
	if pulls := n.pulls(t); len(pulls) > 1 || status.Code(err) != codes.Unavailable {
		t.Errorf("pulled %q, and %v", pulls, err)
	}
}

// A last resort on the original's own host is the original itself.
func TestLastResortAfterTheOwnRegistry(t *testing.T) {
	const own = second + "/library/nginx:1.25"
	n := newSlowNode(t, nil)
	n.registry.lies, n.registry.lastResort = true, true
	n.rewriter.lookup.(memoryLookup).registries[1].lies = true
	pulled, _, err := n.pullSlowly(t.Context(), own)
	if !slices.Equal(pulled, []string{second, hub}) {
		t.Errorf("pulled from %q", pulled)
	}
	if text := status.Convert(err).Message(); !strings.HasPrefix(text, `failed to pull and unpack image "`+own) || !strings.Contains(text, "and after it: http://"+hub) {
		t.Errorf("error %v", err)
	}
}
