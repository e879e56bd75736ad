package e2e

import (
	"context"
	"slices"
	"strings"
	"time"

	images "github.com/containerd/containerd/api/services/images/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// preload gives the image in the runtime without the shim the name under which the shim is
// about to find it. Only here the shim shows more than the runtime: an image that has the
// private registry's own name, and no name of a third registry, counts as preloaded for
// docker.io's name of the same path.
func (m *imageModel) preload(asked string) {
	name, own := m.preloadedNames(asked)
	if name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	records, err := m.withoutShim.store.Images(ctx)
	m.must(err)
	if !m.hasOnlyOwn(records, name, own) {
		return
	}
	m.logStep("preloaded: %s is %s", own, name)
	last := name // the last name added, which CRI shows after the others
	if !strings.Contains(name, "@") {
		m.must(m.withoutShim.store.Tag(ctx, own, name))
	}
	for _, digest := range m.digestsOf(records, own) {
		last = repositoryOf(name) + "@" + digest
		m.must(m.withoutShim.store.Tag(ctx, repositoryOf(own)+"@"+digest, last))
	}
	for {
		response, err := runtimeapi.NewImageServiceClient(m.withoutShim.direct.Connection).ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: last}})
		m.must(err)
		if response.Image != nil {
			return
		}
		time.Sleep(time.Millisecond) // between two checks
	}
}

// preloadedNames returns docker.io's name for the image asked and the private registry's own
// name of the same path. Both are empty if the private registry has no such name.
func (m *imageModel) preloadedNames(asked string) (name, own string) {
	written, digest, digested := strings.Cut(asked, "@")
	for _, n := range m.images.names {
		canonical := n.canonical()
		if !n.mirrored || !strings.HasPrefix(canonical, "docker.io/") {
			continue
		}
		for _, spelling := range n.spellings {
			switch {
			case digested && (written == spelling || written == repositoryOf(canonical)):
				return repositoryOf(canonical) + "@" + digest, m.images.private + "/" + n.repository() + "@" + digest
			case !digested && written == spelling:
				return canonical, m.images.private + "/" + n.repository() + ":" + n.tag()
			}
		}
	}
	return "", ""
}

// hasOnlyOwn reports whether all names of the image called own are the private registry's or
// docker.io's, and no image is called name.
func (m *imageModel) hasOnlyOwn(records []*images.Image, name, own string) bool {
	id := m.idOf(records, own)
	return id != "" && m.idOf(records, name) == "" && !slices.ContainsFunc(records, func(record *images.Image) bool {
		return m.images.ids[record.Target.GetDigest()] == id && record.Name != id &&
			!strings.HasPrefix(record.Name, m.images.private+"/") && !strings.HasPrefix(record.Name, "docker.io/")
	})
}

// digestsOf returns the digests that an image has in the repository of its own name: the
// digest of the name's target or, if the name has moved to an image without it, all.
func (m *imageModel) digestsOf(records []*images.Image, own string) (digests []string) {
	id := m.idOf(records, own)
	for _, record := range records {
		_, digest, ok := strings.Cut(record.Name, repositoryOf(own)+"@")
		if !ok || m.images.ids[digest] != id {
			continue
		}
		if slices.ContainsFunc(records, func(r *images.Image) bool { return r.Name == own && r.Target.GetDigest() == digest }) {
			return []string{digest}
		}
		digests = append(digests, digest)
	}
	return digests
}

// idOf returns the ID of the image with a name, or "" if there is none.
func (m *imageModel) idOf(records []*images.Image, name string) string {
	for _, record := range records {
		if record.Name == name {
			return m.images.ids[record.Target.GetDigest()]
		}
	}
	return ""
}
