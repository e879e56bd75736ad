package naming

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/imagename"
)

// sandboxNames caches the names of the image that the runtime starts sandboxes from.
// The runtime pulls it by itself, under the name in its configuration, which must
// therefore stay. It is safe for concurrent use.
type sandboxNames struct {
	asking chan struct{} // holds a value while one of the calls asks the runtime
	found  []string      // guarded by asking, as is at
	at     time.Time     // when they were found; zero if they were not
}

func newSandboxNames() *sandboxNames { return &sandboxNames{asking: make(chan struct{}, 1)} }

// sandboxNamesTTL is how long the names are remembered. They change when the runtime
// is restarted with another configuration.
const sandboxNamesTTL = 10 * time.Second

// sandboxTimeout bounds the calls that ask the runtime for the names.
const sandboxTimeout = 5 * time.Second

// names returns the names in their canonical form. If the runtime does not answer, they
// are those of before, if any.
func (s *sandboxNames) names(ctx context.Context, n *Namer) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, sandboxTimeout)
	defer cancel()
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the name of the sandboxes' image: %w", ctx.Err())
	}
	if time.Since(s.at) < sandboxNamesTTL {
		return s.found, nil
	}
	configured, err := n.configuredSandbox(ctx)
	if err == nil {
		var running string
		if running, err = n.runningSandbox(ctx); err == nil {
			s.found, s.at = imagename.CanonicalNames(configured, running), time.Now()
		}
	}
	if s.at.IsZero() {
		return nil, fmt.Errorf("ask for the name of the sandboxes' image: %w", err)
	}
	return s.found, nil
}

// configuredSandbox returns the name in the runtime's configuration, which containerd
// before 2.0 shows in its status; empty if it is not shown.
func (n *Namer) configuredSandbox(ctx context.Context) (string, error) {
	response := &runtime.StatusResponse{}
	if err := n.runtime.Call(ctx, "RuntimeService/Status", &runtime.StatusRequest{Verbose: true}, response); err != nil {
		return "", err
	}
	var config struct {
		SandboxImage string `json:"sandboxImage"`
	}
	_ = json.Unmarshal([]byte(response.GetInfo()["config"]), &config) // empty if it is none
	return config.SandboxImage, nil
}

// runningSandbox returns the name of the image that the newest sandbox was started
// from; empty if there is none.
func (n *Namer) runningSandbox(ctx context.Context) (string, error) {
	list := &runtime.ListPodSandboxResponse{}
	if err := n.runtime.Call(ctx, "RuntimeService/ListPodSandbox", &runtime.ListPodSandboxRequest{}, list); err != nil || len(list.GetItems()) == 0 {
		return "", err
	}
	newest := slices.MaxFunc(list.GetItems(), func(a, b *runtime.PodSandbox) int { return cmp.Compare(a.CreatedAt, b.CreatedAt) })
	response := &runtime.PodSandboxStatusResponse{}
	if err := n.runtime.Call(ctx, "RuntimeService/PodSandboxStatus", &runtime.PodSandboxStatusRequest{PodSandboxId: newest.GetId(), Verbose: true}, response); err != nil {
		return "", nil // it has just been removed
	}
	var info struct {
		Image string `json:"image"`
	}
	_ = json.Unmarshal([]byte(response.GetInfo()["info"]), &info) // empty if it is none
	return info.Image, nil
}
