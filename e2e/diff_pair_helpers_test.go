package e2e

import (
	"math/rand/v2"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// pairName is an image name that clients use.
type pairName struct {
	spellings []string // the first is canonical
	mirrored  bool     // the private registry has it too
	digests   []string // of all images that were published under it
}

// repository returns the name without its host and its tag.
func (n *pairName) repository() string {
	_, path, _ := strings.Cut(n.spellings[0], "/")
	repository, _, _ := strings.Cut(path, ":")
	return repository
}

func (n *pairName) tag() string { return n.spellings[0][strings.LastIndexByte(n.spellings[0], ':')+1:] }

// diffPair is two runtimes, one of them behind a shim, that receive the same calls.
type diffPair struct {
	t            *testing.T
	random       *rand.Rand
	shim, direct *grpc.ClientConn
	apis         []string // the protobuf packages of CRI that the runtime serves
	streams      bool     // the runtime has StreamImages
	names        []*pairName
	layer        v1.Image   // the base of all images
	images       []v1.Image // all images that were published
	privateDown  bool       // the private registry is down, so that images come from the originals
	log          []string
}

func newDiffPair(t *testing.T, choices *rand.Rand) *diffPair {
	t.Helper()
	layer, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	p := &diffPair{t: t, random: choices, apis: []string{"runtime.v1"}, layer: layer, names: []*pairName{
		{spellings: []string{"docker.io/pair/app:1", "pair/app:1", "index.docker.io/pair/app:1"}, mirrored: true},
		{spellings: []string{"docker.io/pair/app:latest", "pair/app", "docker.io/pair/app"}, mirrored: true},
		{spellings: []string{"docker.io/pair/other:1", "pair/other:1"}, mirrored: true},
		// These two have the same repository in the private registry.
		{spellings: []string{"registry.k8s.io/pair-pause:3.9"}, mirrored: true},
		{spellings: []string{"k8s.gcr.io/pair-pause:3.9"}, mirrored: true},
		{spellings: []string{"quay.io/pair/elsewhere:1"}},
	}}
	p.shim = newNode(t, startPairRuntime(t, "shim"), privateConfiguration()).through.Connection
	p.direct = dial(t, startPairRuntime(t, "plain").Socket()).Connection
	if err := p.direct.Invoke(testContext(t), "/runtime.v1alpha2.RuntimeService/Version", &runtimeapi.VersionRequest{}, &runtimeapi.VersionResponse{}); err == nil {
		p.apis = append(p.apis, "runtime.v1alpha2")
	}
	_, err = streamImages(testContext(t), p.direct)
	p.streams = status.Code(err) != codes.Unimplemented
	t.Logf("the runtime serves %v, StreamImages: %v", p.apis, p.streams)
	for _, name := range p.names {
		p.publish(name)
	}
	t.Cleanup(func() { p.setPrivateDown(false) })
	return p
}

// startPairRuntime starts a containerd that uses the upstream registry in place of all
// registries except the private one.
func startPairRuntime(t *testing.T, folder string) runtime {
	t.Helper()
	options := testbed.RuntimeOptions{Folder: filepath.Join(t.TempDir(), folder), SandboxImage: sandboxImage, Hosts: map[string]testbed.Host{
		shared.private.Host(): {Address: shared.private.Address()},
	}}
	for _, host := range []string{"docker.io", "registry.k8s.io", "k8s.gcr.io", "quay.io"} {
		options.Hosts[host] = testbed.Host{Address: shared.upstream.Address()}
	}
	containerd, err := testbed.StartContainerd(testContext(t), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(containerd.Stop)
	return containerd
}

// publish pushes a new image under the name to the registries, which moves its tag.
// Sometimes it is an image that another name has, too.
func (p *diffPair) publish(name *pairName) {
	image := p.image()
	p.images = append(p.images, image)
	p.setPrivateDown(false)
	digest := hash(p.t, image.Digest)
	p.logStep("publish %s, %s", name.spellings[0], digest)
	repository := name.repository() + ":" + name.tag()
	registries := []*testbed.Registry{shared.upstream}
	if name.mirrored {
		registries = append(registries, shared.private)
	}
	for _, registry := range registries {
		if err := registry.Push(testContext(p.t), repository, image); err != nil {
			p.t.Fatal(err)
		}
	}
	for _, other := range p.names {
		if other.repository() == name.repository() {
			other.digests = append(other.digests, digest)
		}
	}
}

// setPrivateDown stops or starts the private registry.
func (p *diffPair) setPrivateDown(down bool) {
	if down == p.privateDown {
		return
	}
	p.privateDown = down
	p.logStep("private registry down: %v", down)
	if down {
		shared.private.Stop()
	} else if err := shared.private.Start(testContext(p.t)); err != nil {
		p.t.Fatal(err)
	}
}

// image builds a new image or returns one of those already published.
func (p *diffPair) image() v1.Image {
	if len(p.images) > 0 && p.random.IntN(3) == 0 {
		return p.images[p.random.IntN(len(p.images))]
	}
	file, err := p.layer.ConfigFile()
	if err != nil {
		p.t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", goruntime.GOARCH // containerd rejects other platforms
	file.Config.Labels = map[string]string{"number": strconv.Itoa(len(p.images))}
	image, err := mutate.ConfigFile(p.layer, file)
	if err != nil {
		p.t.Fatal(err)
	}
	return image
}

// spelling returns one of the name's spellings, sometimes with a digest.
func (p *diffPair) spelling(name *pairName) string {
	spelling := name.spellings[p.random.IntN(len(name.spellings))]
	if p.random.IntN(4) > 0 {
		return spelling
	}
	return spelling + "@" + name.digests[p.random.IntN(len(name.digests))]
}

// id returns the ID of a published image in one of its forms.
func (p *diffPair) id() string {
	id := hash(p.t, p.images[p.random.IntN(len(p.images))].ConfigName)
	bare := strings.TrimPrefix(id, "sha256:")
	return []string{id, bare, bare[:12], id[:len("sha256:")+12]}[p.random.IntN(4)]
}

// unknownName returns a name that no registry has, or an invalid one.
func (p *diffPair) unknownName() string {
	zeros := strings.Repeat("0", 64)
	unknown := []string{
		"pair/nowhere:1", "docker.io/pair/app:2", "quay.io/pair/elsewhere@sha256:" + zeros, "pair/app:1@sha256:" + zeros,
		zeros, "sha256:" + zeros, "", "No/Name", "pair/app:", "sha256:short",
	}
	return unknown[p.random.IntN(len(unknown))]
}
