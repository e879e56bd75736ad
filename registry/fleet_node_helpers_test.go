package registry_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/distribution/reference"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/explain"
	"image-cri-shim/lookup"
	"image-cri-shim/registry"
	"image-cri-shim/rewrite"
	"image-cri-shim/rewrite/ledger"
)

const (
	imagesOfNode = 30
	alwaysPulled = 10 // of them, containers with imagePullPolicy Always

	pullTime       = time.Second      // of the runtime
	pullBackoffMin = 10 * time.Second // kubelet's delay after a failed pull, doubled with each failure
	pullBackoffMax = 5 * time.Minute
)

// fleetNode is a node with a kubelet, a shim and an agent.
type fleetNode struct {
	t        *testing.T
	number   int
	registry *fleetRegistry
	images   []reference.Named
	kubelet  chan struct{} // kubelet pulls one image at a time (serializeImagePulls)

	mu   sync.Mutex
	shim *registry.Set
}

func newFleetNode(t *testing.T, number int, r *fleetRegistry) *fleetNode {
	n := &fleetNode{t: t, number: number, registry: r, kubelet: make(chan struct{}, 1)}
	for i := range imagesOfNode {
		n.images = append(n.images, parse(t, fmt.Sprintf("docker.io/team/app-%d:1.0", i)))
	}
	n.shim = n.open()
	return n
}

// open returns a set as the daemon opens it at its start and at each reload, and the doctor and
// the agent for each run.
func (n *fleetNode) open() *registry.Set {
	set, err := registry.New(registry.Options{Registries: []registry.Config{
		{Address: "https://hub.example.com", Username: username, Password: password},
	}})
	if err != nil {
		n.t.Error(err)
		return nil
	}
	set.SetTransport(from{n.registry, n.number})
	return set
}

// reload replaces the set, as the daemon does when its configuration has changed.
func (n *fleetNode) reload() {
	n.mu.Lock()
	defer n.mu.Unlock()
	former := n.shim
	n.shim = n.open()
	former.Close()
}

func (n *fleetNode) close() { n.shim.Close() }

// pull pulls an image as kubelet, the shim and the runtime do. It repeats a failed pull until ctx
// is done.
func (n *fleetNode) pull(ctx context.Context, image reference.Named) {
	for delay := pullBackoffMin; !n.tryPull(ctx, image) && wait(ctx, delay); delay = min(2*delay, pullBackoffMax) {
	}
}

// wait waits for a duration. It reports whether ctx is not done.
func wait(ctx context.Context, duration time.Duration) bool {
	select {
	case <-time.After(duration):
		return true
	case <-ctx.Done():
		return false
	}
}

func (n *fleetNode) tryPull(ctx context.Context, image reference.Named) bool {
	n.kubelet <- struct{}{}
	defer func() { <-n.kubelet }()
	n.mu.Lock()
	shim := n.shim
	n.mu.Unlock()
	for answer := range shim.Find(ctx, image) {
		if answer.State == registry.Found {
			time.Sleep(pullTime)
			shim.RecordPull(answer.Candidate)
			return true
		}
	}
	return false
}

// gate asks the registries before a new configuration is applied (LookUp in agent/service).
func (n *fleetNode) gate(ctx context.Context) {
	set := n.open()
	defer set.Close()
	set.Probe(ctx)
}

// examine sends the requests of the doctor that the agent runs.
func (n *fleetNode) examine(ctx context.Context) {
	set := n.open()
	defer set.Close()
	set.Probe(ctx)
	explainer := &explain.Explainer{
		Registries: set,
		Rewriter:   rewrite.New(rewrite.Options{Lookup: lookup.New(set), Ledger: ledger.New()}),
		Invoke:     n.listImages,
	}
	images, _, err := explainer.SampleImages(ctx, 100)
	if err != nil && ctx.Err() == nil {
		n.t.Error(err)
	}
	for _, image := range images {
		if image.Answers[0].State == registry.Found { // the doctor gets it as the runtime does: HEAD and GET
			n.registry.count(n.number, func(l *load) { l.manifests += 2; l.tokens += 2; l.other += 3 })
			break
		}
	}
}

// listImages answers calls to the runtime.
func (n *fleetNode) listImages(_ context.Context, method string, _ []byte) ([]byte, error) {
	response := &runtime.ListImagesResponse{}
	if method == "/runtime.v1.RuntimeService/Version" {
		return proto.Marshal(&runtime.VersionResponse{})
	}
	for _, image := range n.images {
		response.Images = append(response.Images, &runtime.Image{Id: image.String(), RepoTags: []string{image.String()}})
	}
	return proto.Marshal(response)
}
