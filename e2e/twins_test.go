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

// twinName is an image that clients ask for.
type twinName struct {
	spellings []string // the first is canonical
	mirrored  bool     // in the private registry, too
	digests   []string // of all images that were published under it
}

// repository is the name's in the registries: without its host and its tag.
func (n *twinName) repository() string {
	_, path, _ := strings.Cut(n.spellings[0], "/")
	repository, _, _ := strings.Cut(path, ":")
	return repository
}

func (n *twinName) tag() string { return n.spellings[0][strings.LastIndexByte(n.spellings[0], ':')+1:] }

// twins are the two runtimes, which get the same calls.
type twins struct {
	t           *testing.T
	random      *rand.Rand
	shim, plain *grpc.ClientConn
	apis        []string // the packages of the CRI that the runtime serves
	streams     bool     // it has StreamImages
	names       []*twinName
	layer       v1.Image   // what all images are made from
	images      []v1.Image // all that were ever published
	down        bool       // the private registry, for which docker.io and the others then stand in
	log         []string
}

func newTwins(t *testing.T, choices *rand.Rand) *twins {
	t.Helper()
	layer, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	w := &twins{t: t, random: choices, apis: []string{"runtime.v1"}, layer: layer, names: []*twinName{
		{spellings: []string{"docker.io/twins/app:1", "twins/app:1", "index.docker.io/twins/app:1"}, mirrored: true},
		{spellings: []string{"docker.io/twins/app:latest", "twins/app", "docker.io/twins/app"}, mirrored: true},
		{spellings: []string{"docker.io/twins/other:1", "twins/other:1"}, mirrored: true},
		// One repository of the private registry for both.
		{spellings: []string{"registry.k8s.io/twins-pause:3.9"}, mirrored: true},
		{spellings: []string{"k8s.gcr.io/twins-pause:3.9"}, mirrored: true},
		{spellings: []string{"quay.io/twins/elsewhere:1"}},
	}}
	w.shim = newNode(t, startTwin(t, "shim"), privateOnly()).through.Connection
	w.plain = dial(t, startTwin(t, "plain").Socket()).Connection
	if err := w.plain.Invoke(testContext(t), "/runtime.v1alpha2.RuntimeService/Version", &runtimeapi.VersionRequest{}, &runtimeapi.VersionResponse{}); err == nil {
		w.apis = append(w.apis, "runtime.v1alpha2")
	}
	_, err = streamImages(testContext(t), w.plain)
	w.streams = status.Code(err) != codes.Unimplemented
	t.Logf("the runtime serves %v, StreamImages: %v", w.apis, w.streams)
	for _, name := range w.names {
		w.publish(name)
	}
	t.Cleanup(func() { w.setDown(false) })
	return w
}

// startTwin starts a containerd for which the upstream registry is all others
// but the private one.
func startTwin(t *testing.T, folder string) runtime {
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

// publish makes a new image of that name in the registries, so that its tag
// moves. At times it is one that another name has, too.
func (w *twins) publish(name *twinName) {
	image := w.image()
	w.images = append(w.images, image)
	w.setDown(false)
	digest := hash(w.t, image.Digest)
	w.note("publish %s, %s", name.spellings[0], digest)
	repository := name.repository() + ":" + name.tag()
	registries := []*testbed.Registry{shared.upstream}
	if name.mirrored {
		registries = append(registries, shared.private)
	}
	for _, registry := range registries {
		if err := registry.Push(testContext(w.t), repository, image); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, other := range w.names {
		if other.repository() == name.repository() {
			other.digests = append(other.digests, digest)
		}
	}
}

// setDown stops the private registry or starts it again.
func (w *twins) setDown(down bool) {
	if down == w.down {
		return
	}
	w.down = down
	w.note("private registry down: %v", down)
	if down {
		shared.private.Stop()
	} else if err := shared.private.Start(testContext(w.t)); err != nil {
		w.t.Fatal(err)
	}
}

// image makes a new one, or takes one of those that were published.
func (w *twins) image() v1.Image {
	if len(w.images) > 0 && w.random.IntN(3) == 0 {
		return w.images[w.random.IntN(len(w.images))]
	}
	file, err := w.layer.ConfigFile()
	if err != nil {
		w.t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", goruntime.GOARCH // containerd pulls no other
	file.Config.Labels = map[string]string{"number": strconv.Itoa(len(w.images))}
	image, err := mutate.ConfigFile(w.layer, file)
	if err != nil {
		w.t.Fatal(err)
	}
	return image
}

// spelling is one of those of a name: at times with a digest.
func (w *twins) spelling(name *twinName) string {
	spelling := name.spellings[w.random.IntN(len(name.spellings))]
	if w.random.IntN(4) > 0 {
		return spelling
	}
	return spelling + "@" + name.digests[w.random.IntN(len(name.digests))]
}

// id is that of an image that has been published, in one of its forms.
func (w *twins) id() string {
	id := hash(w.t, w.images[w.random.IntN(len(w.images))].ConfigName)
	bare := strings.TrimPrefix(id, "sha256:")
	return []string{id, bare, bare[:12], id[:len("sha256:")+12]}[w.random.IntN(4)]
}

// unknown is what nobody has, or what is no name.
func (w *twins) unknown() string {
	zeros := strings.Repeat("0", 64)
	unknown := []string{
		"twins/nowhere:1", "docker.io/twins/app:2", "quay.io/twins/elsewhere@sha256:" + zeros, "twins/app:1@sha256:" + zeros,
		zeros, "sha256:" + zeros, "", "No/Name", "twins/app:", "sha256:short",
	}
	return unknown[w.random.IntN(len(unknown))]
}
