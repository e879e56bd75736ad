package rewrite

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/distribution/reference"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/proxy/intercept"
	"image-cri-shim/rewrite/cri"
	"image-cri-shim/rewrite/imagename"
	"image-cri-shim/rewrite/rewritetest"
)

// TestEverySpellingInEveryMethod sends each line of testdata/references.txt
// through each intercepted method of both versions.
func TestEverySpellingInEveryMethod(t *testing.T) {
	for _, version := range cri.Versions {
		s := newSpeaker(t, version)
		for _, spelling := range rewritetest.Spellings(t, "../testdata/references.txt") {
			t.Run(version+"/line "+spelling.Line, func(t *testing.T) {
				s.t = t
				switch spelling.Meaning {
				case rewritetest.MeansID, rewritetest.MeansNothing:
					s.wantUntouched(spelling.Asked)
				default:
					s.wantServed(spelling.Asked, spelling.Meaning)
				}
			})
		}
	}
}

// speaker is a client of a node. It encodes messages unlike any library, so that a message that
// was decoded and encoded again has other bytes. It records the requests to the runtime.
type speaker struct {
	*node
	looked []string            // originals of lookups
	sent   map[string][][]byte // requests that reached the runtime, by method
}

func newSpeaker(t *testing.T, version string) *speaker {
	s := &speaker{node: newNode(t)}
	s.version = version
	s.rewriter.lookup = watchedLookup{s.rewriter.lookup, &s.looked}
	// Hide a reference, so that answers with the host of the hub are decoded.
	s.push(hub + "/elsewhere:1")
	s.mustPull("quay.io/elsewhere:1")
	return s
}

// watchedLookup records the names of lookups.
type watchedLookup struct {
	Lookup
	looked *[]string
}

func (w watchedLookup) Candidates(name reference.Named) []Candidate {
	*w.looked = append(*w.looked, name.String())
	return w.Lookup.Candidates(name)
}

func (w watchedLookup) Find(ctx context.Context, name reference.Named) iter.Seq[Answer] {
	*w.looked = append(*w.looked, name.String())
	return w.Lookup.Find(ctx, name)
}

func field(number protowire.Number, contents ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), slices.Concat(contents...))
}

// future is a field that no current message has. Libraries encode it last.
var future = field(5000, []byte("of the future"))

func imageSpec(image string) []byte { return slices.Concat(future, field(1, []byte(image))) }

// encodedRequests returns the request of each method with an image name.
func encodedRequests(image string) map[string][]byte {
	spec := imageSpec(image)
	login := field(2, field(1, []byte("caller")), field(2, []byte("canary")))
	user := field(18, []byte(image)) // user_specified_image
	return map[string][]byte{
		"PullImage":       slices.Concat(future, field(1, spec), login),
		"ImageStatus":     slices.Concat(future, field(1, spec)),
		"RemoveImage":     slices.Concat(future, field(1, spec)),
		"ListImages":      slices.Concat(future, field(1, future, field(1, spec))),
		"StreamImages":    slices.Concat(future, field(1, future, field(1, spec))),
		"CreateContainer": slices.Concat(future, field(2, future, field(2, spec, user), field(7, field(9, spec, user)))),
	}
}

// say calls a method, and returns the client's answer and the requests of this method that
// reached the runtime.
func (s *speaker) say(method string, request []byte, invoke intercept.Invoke) (answer []byte, sent [][]byte) {
	s.t.Helper()
	s.looked, s.sent = nil, make(map[string][][]byte)
	var mutex sync.Mutex // the runtime may receive concurrent calls
	watched := func(ctx context.Context, method string, request []byte) ([]byte, error) {
		short := method[strings.LastIndexByte(method, '/')+1:]
		mutex.Lock()
		s.sent[short] = append(s.sent[short], request)
		mutex.Unlock()
		return invoke(ctx, method, request)
	}
	service := "ImageService"
	if strings.Contains(method, "Container") {
		service = "RuntimeService"
	}
	full := "/" + s.version + "." + service + "/" + method
	var err error
	if method == "StreamImages" {
		forward, transform, streamErr := s.rewriter.Stream()[full](s.t.Context(), request, watched)
		if streamErr != nil {
			s.t.Fatal(streamErr)
		}
		list := "/" + s.version + ".ImageService/ListImages" // memoryRuntime has no streams
		if answer, err = invoke(s.t.Context(), list, forward); err == nil {
			answer, err = transform(answer)
		}
		s.sent[method] = append(s.sent[method], forward)
	} else {
		answer, err = s.rewriter.Unary()[full](s.t.Context(), request, watched)
	}
	if err != nil {
		s.t.Fatalf("%s: %v", method, err)
	}
	return answer, s.sent[method]
}

// wantUntouched checks that no lookup is made for a string, and that the bytes of request and
// answer are forwarded unchanged.
func (s *speaker) wantUntouched(asked string) {
	status := field(1, field(8, imageSpec(asked)), field(9, []byte(asked)), field(11, []byte("on "+hub)))
	requests := encodedRequests(asked)
	requests["ContainerStatus"] = slices.Concat(future, field(1, []byte("container-0")))
	for method, request := range requests {
		given := slices.Concat(future, field(6000, []byte("unknown")))
		if method == "ContainerStatus" {
			given = slices.Concat(future, status)
		}
		answer, sent := s.say(method, request, func(context.Context, string, []byte) ([]byte, error) { return given, nil })
		if len(sent) != 1 || !bytes.Equal(sent[0], request) {
			s.t.Errorf("%s: forwarded %.200q for %.200q", method, sent, request)
		}
		if !bytes.Equal(answer, given) {
			s.t.Errorf("%s: answered %.200q for %.200q", method, answer, given)
		}
		if len(s.looked) > 0 {
			s.t.Errorf("%s: unexpected lookups %.200q", method, s.looked)
		}
		for also, requests := range s.sent {
			plain, _ := proto.Marshal(&runtime.ImageStatusRequest{Image: &runtime.ImageSpec{Image: asked}})
			removes := method == "RemoveImage" && also == "ImageStatus" && bytes.Equal(requests[0], plain)
			if also != method && !removes {
				s.t.Errorf("%s: the runtime was asked for %s: %.200q", method, also, requests)
			}
		}
	}
}

// wantServed checks that the hub's candidate is pulled for a name, and that the image is then
// found, shown, used and removed by this name.
func (s *speaker) wantServed(asked, original string) {
	_, path, _ := strings.Cut(original, "/")
	candidate := hub + "/" + path
	image := newContent(original)
	if _, digest, ok := strings.Cut(original, "@"); ok {
		image.digest = digest
	}
	shown := []string{original}
	if digested := imagename.Repository(original) + "@" + image.digest; digested != original {
		shown = append(shown, digested)
	}
	s.runtime.remote[candidate] = image
	defer delete(s.runtime.remote, candidate)
	request := encodedRequests(asked)

	// The image is not on the node yet.
	for _, method := range []string{"ImageStatus", "ListImages", "StreamImages", "CreateContainer", "RemoveImage"} {
		_, sent := s.say(method, request[method], func(context.Context, string, []byte) ([]byte, error) { return nil, nil })
		if !bytes.Equal(sent[0], request[method]) || !slices.Contains(s.looked, original) {
			s.t.Errorf("%s: forwarded %.200q for %.200q, looked for %.200q", method, sent, request[method], s.looked)
		}
	}

	answer, sent := s.say("PullImage", request["PullImage"], s.runtime.invoke)
	pull, pulled := &runtime.PullImageRequest{}, &runtime.PullImageResponse{}
	s.decode(sent[0], pull)
	s.decode(answer, pulled)
	login := s.runtime.logins[hub]
	if len(sent) != 1 || pull.Image.Image != candidate || !loggedIn(login, pull.Auth) || !slices.Equal(s.looked, []string{original}) {
		s.t.Errorf("pulled %.200v, looked for %.200q; want %.200s", sent, s.looked, candidate)
	}
	if !bytes.Equal(pull.ProtoReflect().GetUnknown(), future) || !bytes.Equal(pull.Image.ProtoReflect().GetUnknown(), future) {
		s.t.Error("the pull has lost a field")
	}
	if pulled.ImageRef != image.id {
		s.t.Errorf("the pull is answered with %q, want %s", pulled.ImageRef, image.id)
	}

	s.wantImage("ImageStatus", request["ImageStatus"], image.id, shown)
	for _, method := range []string{"ListImages", "StreamImages"} {
		s.wantImage(method, request[method], image.id, shown)
		filter := &runtime.ListImagesRequest{}
		s.decode(s.sent[method][0], filter)
		if filter.Filter.Image.Image != image.id {
			s.t.Errorf("%s: the filter is %.200q, want %s", method, filter.Filter.Image.Image, image.id)
		}
	}
	s.wantContainer(asked, original, image)
	s.say("RemoveImage", request["RemoveImage"], s.runtime.invoke)
	s.wantImage("ImageStatus", request["ImageStatus"], "", nil)
	if s.runtime.ids[image.id] {
		s.t.Error("the runtime still has the image")
	}
}

// wantImage checks that a method shows the image with an ID, or none, with exactly these names.
func (s *speaker) wantImage(method string, request []byte, id string, shown []string) {
	s.t.Helper()
	answer, _ := s.say(method, request, s.runtime.invoke)
	var image *runtime.Image
	if method == "ImageStatus" {
		response := &runtime.ImageStatusResponse{}
		s.decode(answer, response)
		image = response.Image
	} else {
		response := &runtime.ListImagesResponse{}
		s.decode(answer, response)
		for _, listed := range response.Images {
			if listed.Id == id {
				image = listed
			}
		}
	}
	if got := slices.Concat(image.GetRepoTags(), image.GetRepoDigests()); image.GetId() != id || !slices.Equal(got, shown) {
		s.t.Errorf("%s shows %.80q with the names %.300q, want %.80q with %.300q", method, image.GetId(), got, id, shown)
	}
}

// wantContainer checks that a container of the name, with a mount of it, is created by the
// image's ID, and that its status shows the canonical name.
func (s *speaker) wantContainer(asked, original string, image content) {
	s.t.Helper()
	answer, sent := s.say("CreateContainer", encodedRequests(asked)["CreateContainer"], s.runtime.invoke)
	create, created := &runtime.CreateContainerRequest{}, &runtime.CreateContainerResponse{}
	s.decode(sent[0], create)
	s.decode(answer, created)
	for _, spec := range []*runtime.ImageSpec{create.Config.Image, create.Config.Mounts[0].Image} {
		if spec.Image != image.id || spec.UserSpecifiedImage != asked || !bytes.Equal(spec.ProtoReflect().GetUnknown(), future) {
			s.t.Errorf("created from %.200v, want %s", spec, image.id)
		}
	}
	answer, _ = s.say("ContainerStatus", field(1, []byte(created.ContainerId)), s.runtime.invoke)
	response := &runtime.ContainerStatusResponse{}
	s.decode(answer, response)
	wantImage, wantRef := original, imagename.Repository(original)+"@"+image.digest
	if wantRef == original {
		wantImage = asked // after a pull by digest it has no tag, and containerd shows the string in the request
	}
	status := response.Status
	if status.Image.Image != wantImage || status.ImageRef != wantRef || status.ImageId != image.id {
		s.t.Errorf("the container is of %.200q, %.200q, %.200q", status.Image.Image, status.ImageRef, status.ImageId)
	}
}

func (s *speaker) decode(encoded []byte, message proto.Message) {
	s.t.Helper()
	if err := proto.Unmarshal(encoded, message); err != nil {
		s.t.Fatal(err)
	}
}
