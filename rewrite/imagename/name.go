// Package imagename parses image names and lists the names of a CRI image. It does no I/O.
//
//	name, err := imagename.Parse("nginx:1.25") // docker.io/library/nginx:1.25
//
// This is the canonical reference of "nginx:1.25": the registry's host, the full path, and
// either a tag or a digest.
package imagename

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// ErrImageID is the error that Parse returns for an image ID.
var ErrImageID = errors.New("an image ID, not a name")

// imageID matches full image IDs, which have an algorithm in containerd and none in CRI-O,
// and abbreviated IDs with an algorithm.
var imageID = regexp.MustCompile(`^((sha256|sha384|sha512):[0-9a-f]+|[0-9a-f]{64})$`)

// Parse returns the canonical reference of an image name. The registry defaults to
// docker.io, and the tag to "latest". If the name has a tag and a digest, Parse drops the
// tag, as containerd does. The error is [ErrImageID] for an image ID, and otherwise says
// why image is not a reference (github.com/distribution/reference).
func Parse(image string) (reference.Named, error) {
	if imageID.MatchString(image) {
		return nil, ErrImageID
	}
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return nil, fmt.Errorf("%.300q is not an image reference: %w", image, err)
	}
	// In a_b.example/c the grammar has no host, only a path. containerd takes a_b.example
	// for the host.
	if reference.Domain(named) == "" {
		return nil, fmt.Errorf("%.300q is not an image reference: a registry's host can't have an underscore", image)
	}
	if digested, ok := named.(reference.Digested); ok {
		return reference.WithDigest(reference.TrimNamed(named), digested.Digest())
	}
	return reference.TagNameOnly(named), nil
}

// Repository returns the part of a canonical reference before its tag or digest.
func Repository(canonical string) string {
	if name, _, found := strings.Cut(canonical, "@"); found {
		return name
	}
	if colon := strings.LastIndexByte(canonical, ':'); colon > strings.LastIndexByte(canonical, '/') {
		return canonical[:colon]
	}
	return canonical
}

// Host returns the registry's host and port of a canonical reference.
func Host(canonical string) string {
	host, _, _ := strings.Cut(canonical, "/")
	return host
}

// IsCanonical reports whether image is a canonical reference.
func IsCanonical(image string) bool {
	name, err := Parse(image)
	return err == nil && name.String() == image
}

// Canonical returns the canonical form of a reference in a runtime's answer. cri-dockerd
// shows images of docker.io as "nginx:1.25"; other runtimes show canonical references. A
// string that is not a reference is returned unchanged.
func Canonical(reference string) string {
	host, _, ok := strings.Cut(reference, "/")
	if ok && (strings.ContainsAny(host, ".:") || host == "localhost") {
		return reference
	}
	if name, err := Parse(reference); err == nil {
		return name.String()
	}
	return reference
}

// CanonicalNames returns the canonical references of images, without duplicates. It skips
// IDs and strings that are not references.
func CanonicalNames(images ...string) (names []string) {
	for _, image := range images {
		if name, err := Parse(image); err == nil && !slices.Contains(names, name.String()) {
			names = append(names, name.String())
		}
	}
	return names
}
