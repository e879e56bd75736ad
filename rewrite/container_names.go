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
	container string // its ID
	image     string // the ID of its image; empty if the answer does not have it
	specified string // the name that the user specified, if it is known
	listed    bool   // the answer is a list: there is nothing more to ask about the container
}

// asked returns the string that CreateContainer was given in place of the ID that the
// shim has sent, and image itself if it is not that ID.
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

// tagInstead returns the name to show in a container's status if the runtime has no tag of
// the image: a tag that the ledger has for it, or the string that CreateContainer was
// given. containerd shows the string that it was given, and CRI-O nothing if the image had
// no tag then.
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

// pullable is the prefix of the references with a digest in cri-dockerd's answers about
// containers. It writes docker://ID for an image that has none.
const (
	pullable     = "docker-pullable://"
	dockersImage = "docker://"
)

// name returns the name to show in place of a reference: itself, unless it is hidden.
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

// restoredName returns the name to show in place of a hidden reference: a name that
// the ledger has for it, another name of its image or, if the image has none, what
// runtimes show then. If the runtime fails to say what the image is called,
// the reference stays.
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
		if status.Code(err) != codes.Canceled { // by the client
			s.warn(fmt.Errorf("restore the name of %s, which is shown as it is: %w", reference, err))
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

// createdAs returns the string that CreateContainer was given for the image, which containerd
// shows if the image has no tag.
func (s *containerNames) createdAs(ctx context.Context, id string) string {
	if created, ok := s.ledger.Container(s.container); ok {
		return created.Asked
	}
	if image := s.inList(ctx).GetImage(); image != "" && image != id {
		return image
	}
	return id
}

// nameAtCreation returns the name that a reference stood for when the container was created,
// if the runtime does not have the image under the reference any more. CRI-O shows the
// reference that the image had then, and containerd the one that CreateContainer was given
// if the image has lost its tags.
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

// derivedName returns the name that CRI-O shows for a reference whose name means another image
// now: the image's digests tell which repository the reference's stands for.
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

// pulledFrom returns the names of the container's image that were pulled from a repository
// for another one. There are none if the repository's own name means the image.
func (s *containerNames) pulledFrom(in string) []ledger.Entry {
	names := s.ledger.NamesOf(s.image)
	if slices.ContainsFunc(names, func(name ledger.Entry) bool {
		return !strings.Contains(name.Original, "@") && imagename.Repository(name.Original) == in
	}) {
		return nil
	}
	return slices.DeleteFunc(names, func(name ledger.Entry) bool { return !name.WasPulled() || imagename.Repository(name.Stored) != in })
}
