package imagename

import (
	"slices"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// References returns the tags and digests of an image.
func References(image *runtime.Image) []string {
	return slices.Concat(image.GetRepoTags(), image.GetRepoDigests())
}

// Has reports whether an image has a name with the canonical form reference.
func Has(image *runtime.Image, reference string) bool {
	return slices.ContainsFunc(References(image), func(name string) bool { return Canonical(name) == reference })
}

// Digests returns the digest references of an image in a repository, for example
// "docker.io/library/nginx@sha256:...".
func Digests(image *runtime.Image, in string) []string {
	var digests []string
	for _, reference := range image.GetRepoDigests() {
		if Repository(reference) == in {
			digests = append(digests, reference)
		}
	}
	return digests
}
