// Package imagename parses the names of images, and finds the names that a CRI image has.
// Its functions do no I/O.
//
// A canonical reference has a registry's host, the full path, and either a tag or a
// digest: "docker.io/library/nginx:1.25" for "nginx:1.25".
package imagename

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// ErrImageID is the error of Parse for a string that is an image ID.
var ErrImageID = errors.New("an image ID, not a name")

// imageID matches full IDs (containerd's with the algorithm, CRI-O's without)
// and abbreviated ones that carry the algorithm.
var imageID = regexp.MustCompile(`^((sha256|sha384|sha512):[0-9a-f]+|[0-9a-f]{64})$`)

// Parse returns the canonical reference of an image string: with its registry
// ("docker.io" by default), and with either a digest or a tag ("latest" by default). If
// a string has a tag and a digest, the tag is dropped, as containerd does. The error is
// [ErrImageID], or says why the string is not a reference
// (github.com/distribution/reference).
func Parse(image string) (reference.Named, error) {
	if imageID.MatchString(image) {
		return nil, ErrImageID
	}
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return nil, fmt.Errorf("%.300q is not an image reference: %w", image, err)
	}
	if reference.Domain(named) == "" { // a_b.example/c, where all is path to the grammar and a_b.example the host to containerd
		return nil, fmt.Errorf("%.300q is not an image reference: no registry's host has an underscore", image)
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

// Host returns the registry's host in a canonical reference, with its port.
func Host(canonical string) string {
	host, _, _ := strings.Cut(canonical, "/")
	return host
}

// IsCanonical reports whether a string is a canonical reference.
func IsCanonical(image string) bool {
	name, err := Parse(image)
	return err == nil && name.String() == image
}

// Canonical returns the canonical form of a reference in an answer. cri-dockerd shows
// "nginx:1.25" for docker.io's images, the other runtimes show canonical references.
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

// CanonicalNames returns the canonical references of the names among images, without
// duplicates.
func CanonicalNames(images ...string) (names []string) {
	for _, image := range images {
		if name, err := Parse(image); err == nil && !slices.Contains(names, name.String()) {
			names = append(names, name.String())
		}
	}
	return names
}
