package rewrite

import (
	"cmp"
	"context"
	"slices"

	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/ledger"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// preferred chooses among the names with a stored reference. It prefers the name that the user
// specified, then a name of the same repository, then the oldest name.
func (s *containerNames) preferred(ctx context.Context, names []ledger.Entry, stored string) (best string, ok bool) {
	names = slices.DeleteFunc(slices.Clone(names), func(name ledger.Entry) bool { return name.Stored != stored })
	if len(names) == 0 {
		return "", false
	}
	if len(names) == 1 {
		return names[0].Original, true
	}
	specified, err := imagename.Parse(s.specifiedName(ctx))
	if err != nil {
		return names[0].Original, true
	}
	best, bestScore := "", -1
	for _, name := range names {
		score := 0
		switch {
		case name.Original == specified.String():
			score = 2
		case imagename.Repository(name.Original) == specified.Name():
			score = 1
		}
		if score > bestScore {
			best, bestScore = name.Original, score
		}
	}
	return best, true
}

// specifiedOf returns the tag that the user specified, or else the first tag.
func (s *containerNames) specifiedOf(tags []string) string {
	if specified, err := imagename.Parse(s.specified); err == nil && slices.Contains(tags, specified.String()) {
		return specified.String()
	}
	return tags[0]
}

// specifiedName returns the image name that the user specified for the container. It calls
// ListContainers if necessary, because containerd shows the name in lists only.
func (s *containerNames) specifiedName(ctx context.Context) string {
	if s.specified == "" {
		listed := s.inList(ctx)
		s.specified = cmp.Or(listed.GetUserSpecifiedImage(), listed.GetImage())
	}
	return s.specified
}

// inList returns the container's image as ListContainers shows it, or nil if it is unknown.
func (s *containerNames) inList(ctx context.Context) *runtime.ImageSpec {
	if s.listed || s.container == "" {
		return nil
	}
	request, err := proto.Marshal(&runtime.ListContainersRequest{Filter: &runtime.ContainerFilter{Id: s.container}})
	if err != nil {
		return nil
	}
	raw, err := s.runtime.Invoke(ctx, "/"+s.runtime.Version+".RuntimeService/ListContainers", request)
	list := &runtime.ListContainersResponse{}
	if err != nil || proto.Unmarshal(raw, list) != nil {
		return nil // the caller falls back to another name of the image, or its ID
	}
	for _, container := range list.Containers {
		if container.Id == s.container {
			return container.GetImage()
		}
	}
	return nil
}
