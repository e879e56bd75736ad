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

// sandboxNames caches the names of the sandbox (pause) image. The runtime pulls this image
// itself, under the name in its configuration, so that name must stay. It is safe for
// concurrent use.
type sandboxNames struct {
	asking chan struct{} // semaphore for the calls to the runtime; guards the fields below
	found  []string
	at     time.Time // when the names were found; zero before that
}

func newSandboxNames() *sandboxNames { return &sandboxNames{asking: make(chan struct{}, 1)} }

// sandboxNamesTTL is how long the names are cached. They change if the runtime restarts with
// another configuration.
const sandboxNamesTTL = 10 * time.Second

// sandboxTimeout limits the calls to the runtime for the names.
const sandboxTimeout = 5 * time.Second

// names returns the names in canonical form. If the runtime does not answer, it returns the
// cached names, however old they are, and an error if there are none.
func (s *sandboxNames) names(ctx context.Context, n *Namer) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, sandboxTimeout)
	defer cancel()
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the name of the sandbox image: %w", ctx.Err())
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
		return nil, fmt.Errorf("find the name of the sandbox image: %w", err)
	}
	return s.found, nil
}

// configuredSandbox returns the name in the runtime's configuration, which containerd before
// 2.0 shows in its status. It returns an empty name if the status does not show it.
func (n *Namer) configuredSandbox(ctx context.Context) (string, error) {
	response := &runtime.StatusResponse{}
	if err := n.runtime.Call(ctx, "RuntimeService/Status", &runtime.StatusRequest{Verbose: true}, response); err != nil {
		return "", err
	}
	var config struct {
		SandboxImage string `json:"sandboxImage"`
	}
	_ = json.Unmarshal([]byte(response.GetInfo()["config"]), &config) // on an error the name stays empty
	return config.SandboxImage, nil
}

// runningSandbox returns the name of the image of the newest sandbox, or an empty name if there
// is no sandbox.
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
	_ = json.Unmarshal([]byte(response.GetInfo()["info"]), &info) // on an error the name stays empty
	return info.Image, nil
}
