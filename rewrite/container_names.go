package rewrite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"
)

// containerNames finds the names to show in an answer about a container.
type containerNames struct {
	call
	container string // container ID
	image     string // image ID; empty if the answer does not contain it
	specified string // user_specified_image; empty if unknown
	listed    bool   // the answer is a list, so ListContainers has no more information
}

// asked returns the image string in the client's CreateContainer request if image is the ID
// that the shim has sent instead, and otherwise image.
func (s *containerNames) asked(image string) string {
	created, ok := s.ledger.Container(s.container)
	if !ok {
		return image
	}
	if s.specified == "" {
		s.specified = cmp.Or(created.Specified, created.Asked)
	}
	if image == created.Sent {
		return created.Asked
	}
	return image
}

// tagInstead returns the name to show in a container's status if the image has no tag in the
// runtime: a tag from the ledger, or the image string in the client's CreateContainer
// request. For such an image, containerd shows the string in the request that it received,
// and CRI-O shows nothing if the image had no tag at that time.
func (s *containerNames) tagInstead(ctx context.Context, image string) string {
	asked := s.asked(image)
	_, err := imagename.Parse(image)
	hasNoName := image == "" || errors.Is(err, imagename.ErrImageID)
	id := s.image
	if id == "" && hasNoName {
		id = image
	}
	names := s.ledger.NamesOf(id)
	if len(names) == 0 || !hasNoName && !slices.ContainsFunc(names, ledger.Entry.IsUnstored) {
		return asked
	}
	found, err := s.runtime.ImageStatus(ctx, id)
	if err != nil || found == nil || !hasNoName && (len(found.RepoTags) > 0 || s.untags(ctx)) {
		return asked
	}
	if s.ledger.RestoreImage(found); len(found.RepoTags) == 0 {
		return asked
	}
	return s.specifiedOf(found.RepoTags)
}

// pullable is the prefix of digest references in cri-dockerd's answers about containers. For
// an image without a digest, cri-dockerd shows docker://ID.
const (
	pullable     = "docker-pullable://"
	dockersImage = "docker://"
)

// name returns the name to show in place of a reference. It keeps the prefixes of cri-dockerd.
func (s *containerNames) name(ctx context.Context, reference string) string {
	bare, dockers := strings.CutPrefix(reference, pullable)
	name := s.restoredName(ctx, bare)
	switch {
	case name == bare:
		return reference
	case !dockers:
		return name
	case strings.Contains(name, "/"):
		return pullable + name
	default:
		return dockersImage + name
	}
}

// restoredName returns the name to show in place of a reference, or the reference itself if it
// is not hidden. For a hidden reference it returns, in this order: the ledger's name for it,
// another name of the image, or the string that runtimes show for an image without names. If
// the runtime fails to answer for the image, it returns the reference.
func (s *containerNames) restoredName(ctx context.Context, reference string) string {
	id, hidden := s.image, s.image != "" && s.ledger.IsHidden(reference, s.image)
	if s.image == "" {
		id, hidden = s.ledger.HiddenOn(reference)
	}
	if replacement := s.namer.ReplaceName(reference, s.specified, s.began); replacement != reference {
		return replacement
	}
	if !hidden {
		return s.nameAtCreation(ctx, reference)
	}
	names := s.ledger.NamesOf(id)
	if original, ok := s.preferred(ctx, names, reference); ok {
		return original
	}
	image, err := s.runtime.ImageStatus(ctx, id)
	switch {
	case err != nil:
		if status.Code(err) != codes.Canceled { // not cancelled by the client
			s.warn(fmt.Errorf("could not restore the name of %s in an answer about a container: %w", reference, err))
		}
		return reference
	case image == nil:
		return id
	}
	s.ledger.RestoreImage(image)
	if strings.Contains(reference, "@") {
		return append(slices.Clone(image.RepoDigests), id)[0]
	}
	if len(image.RepoTags) > 0 {
		return s.specifiedOf(image.RepoTags)
	}
	if original, ok := s.derivedName(ctx, names, reference); ok {
		return original
	}
	return s.createdAs(ctx, id)
}

// createdAs returns the image string in the CreateContainer request, which containerd shows if
// the image has no tag. If the string is unknown, it returns the image ID.
func (s *containerNames) createdAs(ctx context.Context, id string) string {
	if created, ok := s.ledger.Container(s.container); ok {
		return created.Asked
	}
	if image := s.inList(ctx).GetImage(); image != "" && image != id {
		return image
	}
	return id
}

// nameAtCreation returns the name that a reference stood for when the container was created, if
// the runtime no longer has the image under this reference, and otherwise the reference. CRI-O
// shows the reference that the image had at that time. containerd shows the reference in the
// CreateContainer request if the image has lost its tags.
func (s *containerNames) nameAtCreation(ctx context.Context, reference string) string {
	pulled := s.pulledFrom(imagename.Repository(reference))
	if len(pulled) == 0 || s.ledger.IsAsked(reference, s.image) {
		return reference
	}
	found, err := s.runtime.ImageStatus(ctx, s.image)
	if err != nil || found != nil && imagename.Has(found, reference) {
		return reference
	}
	if original, ok := s.preferred(ctx, pulled, reference); ok {
		return original
	}
	if s.ledger.RestoreImage(found); !strings.Contains(reference, "@") && len(found.GetRepoTags()) > 0 {
		return s.specifiedOf(found.RepoTags)
	}
	if original, ok := s.derivedName(ctx, pulled, reference); ok {
		return original
	}
	return reference
}

// derivedName returns the name that CRI-O would show for a reference if the name that was
// stored under it now means another image. It derives the original repository from those names
// of the image that were pulled from the repository of the reference. For other runtimes it
// returns none.
func (s *containerNames) derivedName(ctx context.Context, names []ledger.Entry, reference string) (original string, ok bool) {
	in := imagename.Repository(reference)
	var derived []ledger.Entry
	for _, name := range names {
		if name.WasPulled() && imagename.Repository(name.Stored) == in {
			suffix := strings.TrimPrefix(reference, in)
			derived = append(derived, ledger.Entry{Original: imagename.Repository(name.Original) + suffix, Stored: reference})
		}
	}
	if len(derived) == 0 || !s.untags(ctx) {
		return "", false
	}
	return s.preferred(ctx, derived, reference)
}

// pulledFrom returns the names of the container's image that were pulled from a repository of a
// registry. It returns none if a tag of this repository is a name of the image itself.
func (s *containerNames) pulledFrom(in string) []ledger.Entry {
	names := s.ledger.NamesOf(s.image)
	if slices.ContainsFunc(names, func(name ledger.Entry) bool {
		return !strings.Contains(name.Original, "@") && imagename.Repository(name.Original) == in
	}) {
		return nil
	}
	return slices.DeleteFunc(names, func(name ledger.Entry) bool { return !name.WasPulled() || imagename.Repository(name.Stored) != in })
}
