package e2e

import (
	"math/rand/v2"
	goruntime "runtime"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"image-cri-shim/e2e/testbed"
)

// modelName is an image name that clients use.
type modelName struct {
	spellings []string // the first is canonical
	mirrored  bool     // the private registry has it too
	own       bool     // it is a name on the private registry's own host
	digests   []string // of all images that were published under its repository
}

func (n *modelName) canonical() string { return n.spellings[0] }

// repository returns the name without host and tag.
func (n *modelName) repository() string {
	_, path, _ := strings.Cut(n.canonical(), "/")
	return path[:strings.LastIndexByte(path, ':')]
}

func (n *modelName) tag() string {
	return n.canonical()[strings.LastIndexByte(n.canonical(), ':')+1:]
}

// modelImages holds the names of a run and the images that were published under them.
type modelImages struct {
	random    *rand.Rand
	names     []*modelName
	private   string // the host of the private registry's own names
	layer     v1.Image
	published []testbed.ImageOrIndex
	ids       map[string]string // the image's ID by the digest of its manifest or index
}

// elsewhere is the repository that the private registry lacks.
const elsewhere = "model/elsewhere"

func newModelImages(t *testing.T, choices *rand.Rand, private string) *modelImages {
	t.Helper()
	layer, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	return &modelImages{random: choices, private: private, layer: layer, ids: make(map[string]string), names: []*modelName{
		{spellings: []string{"docker.io/model/app:1", "model/app:1", "index.docker.io/model/app:1"}, mirrored: true},
		{spellings: []string{"docker.io/model/app:latest", "model/app", "docker.io/model/app"}, mirrored: true},
		{spellings: []string{"docker.io/model/other:1", "model/other:1"}, mirrored: true},
		// These two have the same repository in the private registry.
		{spellings: []string{"registry.k8s.io/model-pause:3.9"}, mirrored: true},
		{spellings: []string{"k8s.gcr.io/model-pause:3.9"}, mirrored: true},
		{spellings: []string{"quay.io/model/app:1"}, mirrored: true},
		{spellings: []string{"quay.io/" + elsewhere + ":1"}},
		{spellings: []string{private + "/model/app:1"}, own: true},
		{spellings: []string{private + "/model-pause:3.9"}, own: true},
	}}
}

// new builds an image or returns one that was published. Some are indexes of two
// architectures, sometimes with an image that was also published alone.
func (m *modelImages) new(t *testing.T) testbed.ImageOrIndex {
	t.Helper()
	if len(m.published) > 0 && m.random.IntN(3) == 0 {
		return m.published[m.random.IntN(len(m.published))]
	}
	number := len(m.published)
	image := m.build(t, goruntime.GOARCH, number)
	var content testbed.ImageOrIndex = image
	if number > 0 && m.random.IntN(4) == 0 {
		if published, ok := m.published[m.random.IntN(number)].(v1.Image); ok {
			image = published
		}
		content = indexOf(image, m.build(t, "s390x", number))
	}
	m.ids[hash(t, image.Digest)] = hash(t, image.ConfigName)
	m.ids[hash(t, content.Digest)] = hash(t, image.ConfigName)
	m.published = append(m.published, content)
	return content
}

func (m *modelImages) build(t *testing.T, architecture string, number int) v1.Image {
	t.Helper()
	file, err := m.layer.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", architecture
	file.Config.Labels = map[string]string{"number": strconv.Itoa(number)}
	file.Config.Cmd = []string{"run"}
	image, err := mutate.ConfigFile(m.layer, file)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// indexOf returns a multi-architecture image.
func indexOf(images ...v1.Image) v1.ImageIndex {
	var index v1.ImageIndex = empty.Index
	for _, image := range images {
		file, _ := image.ConfigFile()
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: file.Platform()}})
	}
	return index
}

// spelling returns a name as a client writes it, sometimes with a digest.
func (m *modelImages) spelling(name *modelName) string {
	spelling := name.spellings[m.random.IntN(len(name.spellings))]
	if m.random.IntN(5) > 0 || len(name.digests) == 0 {
		return spelling
	}
	digest := name.digests[m.random.IntN(len(name.digests))]
	if m.random.IntN(2) == 0 {
		return spelling + "@" + digest
	}
	return repositoryOf(name.canonical()) + "@" + digest
}

// repositoryOf returns a name without its tag and its digest.
func repositoryOf(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name = name[:colon]
	}
	return name
}

func (m *modelImages) name() *modelName { return m.names[m.random.IntN(len(m.names))] }

// id returns the ID of an image in one of the forms that clients use.
func (m *modelImages) id(t *testing.T) string {
	t.Helper()
	id := m.ids[hash(t, m.published[m.random.IntN(len(m.published))].Digest)]
	bare := strings.TrimPrefix(id, "sha256:")
	return []string{id, id, bare, bare[:12]}[m.random.IntN(4)]
}

// absent returns a name or an ID that no image has, or an invalid reference.
func (m *modelImages) absent() string {
	zeros := strings.Repeat("0", 64)
	absent := []string{
		"model/nowhere:1", "docker.io/model/app:2", "quay.io/model/other@sha256:" + zeros, "model/app:1@sha256:" + zeros,
		m.private + "/model/app:2", zeros, "sha256:" + zeros, "No/Name", "model/app:", "sha256:short",
	}
	return absent[m.random.IntN(len(absent))]
}

// foreign returns a name that only the second client gives to images.
func (m *modelImages) foreign() string {
	return []string{"example.com/foreign:1", "example.com/foreign:2", m.private + "/model/other:1", "docker.io/library/loaded:1"}[m.random.IntN(4)]
}
