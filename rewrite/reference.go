package rewrite

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/distribution/reference"
)

// ErrImageID says that a string is an image ID and not a name.
var ErrImageID = errors.New("an image ID, not a name")

// imageID matches full IDs (containerd's with the algorithm, CRI-O's without)
// and abbreviated ones that carry the algorithm.
var imageID = regexp.MustCompile(`^((sha256|sha384|sha512):[0-9a-f]+|[0-9a-f]{64})$`)

// Parse returns the original reference that an image string means: with its
// registry ("docker.io" by default), and with either a digest or a tag ("latest"
// by default). Where a string has a tag and a digest the digest decides and the
// tag is dropped, as containerd does. The error is [ErrImageID], or says why the
// string is not a reference (github.com/distribution/reference).
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

// repository is the part of a canonical reference before its tag or digest.
func repository(canonical string) string {
	if name, _, found := strings.Cut(canonical, "@"); found {
		return name
	}
	if colon := strings.LastIndexByte(canonical, ':'); colon > strings.LastIndexByte(canonical, '/') {
		return canonical[:colon]
	}
	return canonical
}

// domain is the registry's host in a canonical reference.
func domain(canonical string) string {
	host, _, _ := strings.Cut(canonical, "/")
	return host
}
