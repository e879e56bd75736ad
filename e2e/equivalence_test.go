package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

const (
	twinSteps   = 200
	twinSeedKey = "EQUIVALENCE_SEED" // the environment variable that repeats a run
)

// TestAnswersEqualThoseWithoutTheShim makes the same random calls to a shim,
// whose containerd gets its images from the private registry, and to a containerd
// that pulls each from where its name says. Clients must be told the same.
func TestAnswersEqualThoseWithoutTheShim(t *testing.T) {
	needContainerd(t)
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(twinSeedKey); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s=%d repeats this run", twinSeedKey, seed)
	w := newTwins(t, rand.New(rand.NewPCG(seed, 1)))
	for range twinSteps {
		w.step()
		if t.Failed() {
			t.Fatalf("after\n%s", strings.Join(w.log, "\n"))
		}
	}
	if !slices.ContainsFunc(shared.private.Requests(), func(r testbed.Request) bool {
		return r.Method == http.MethodGet && strings.Contains(r.Path, "/manifests/")
	}) {
		t.Error("nothing was pulled from the private registry")
	}
}

func (w *twins) step() {
	name := w.names[w.random.IntN(len(w.names))]
	switch action := w.random.IntN(20); {
	case action < 8:
		w.ask("PullImage", &runtimeapi.PullImageRequest{Image: w.spec(w.spelling(name)), Auth: callers}, &runtimeapi.PullImageResponse{})
	case action < 11:
		w.publish(name)
	case action < 13:
		w.ask("RemoveImage", &runtimeapi.RemoveImageRequest{Image: w.spec(w.spelling(name))}, &runtimeapi.RemoveImageResponse{})
	case action < 15:
		w.ask("RemoveImage", &runtimeapi.RemoveImageRequest{Image: w.spec(w.id())}, &runtimeapi.RemoveImageResponse{})
	case action < 16:
		w.ask("PullImage", &runtimeapi.PullImageRequest{Image: w.spec(w.unknown()), Auth: callers}, &runtimeapi.PullImageResponse{})
	case action < 17:
		w.setDown(!w.down)
	default:
		w.status(w.unknown())
		w.status(w.id())
	}
	w.compare()
}

// compare requires that clients see the same images, in the list and by some names.
func (w *twins) compare() {
	w.ask("ListImages", &runtimeapi.ListImagesRequest{}, &runtimeapi.ListImagesResponse{})
	if w.streams {
		w.stream()
	}
	for range len(w.names) / 2 {
		w.status(w.spelling(w.names[w.random.IntN(len(w.names))]))
	}
}

func (w *twins) status(image string) {
	w.ask("ImageStatus", &runtimeapi.ImageStatusRequest{Image: w.spec(image)}, &runtimeapi.ImageStatusResponse{})
}

func (w *twins) spec(image string) *runtimeapi.ImageSpec { return &runtimeapi.ImageSpec{Image: image} }

// ask makes a call to both, and requires the same answer or the same error.
func (w *twins) ask(method string, request, response proto.Message) {
	w.t.Helper()
	full := "/" + w.apis[w.random.IntN(len(w.apis))] + ".ImageService/" + method
	if method != "ListImages" && method != "ImageStatus" {
		w.note("%s %v", full, request.(interface{ GetImage() *runtimeapi.ImageSpec }).GetImage())
	}
	w.both(fmt.Sprintf("%s %v", full, request), func(ctx context.Context, connection *grpc.ClientConn) (proto.Message, error) {
		answer := proto.Clone(response)
		err := connection.Invoke(ctx, full, request, answer)
		return answer, err
	})
}

func (w *twins) stream() {
	w.t.Helper()
	w.both("StreamImages", func(ctx context.Context, connection *grpc.ClientConn) (proto.Message, error) {
		return streamImages(ctx, connection)
	})
}

// streamImages returns the images of all messages of the stream.
func streamImages(ctx context.Context, connection *grpc.ClientConn) (proto.Message, error) {
	stream, err := runtimeapi.NewImageServiceClient(connection).StreamImages(ctx, &runtimeapi.StreamImagesRequest{})
	if err != nil {
		return nil, err
	}
	all := &runtimeapi.ListImagesResponse{}
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all.Images = append(all.Images, part.Images...)
	}
}

func (w *twins) both(what string, call func(context.Context, *grpc.ClientConn) (proto.Message, error)) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	var got, want proto.Message
	var gotErr, wantErr error
	var calls sync.WaitGroup
	calls.Go(func() { got, gotErr = call(ctx, w.shim) })
	calls.Go(func() { want, wantErr = call(ctx, w.plain) })
	calls.Wait()
	sortNames(got)
	sortNames(want)
	if !sameError(gotErr, wantErr) || wantErr == nil && !proto.Equal(got, want) {
		w.t.Errorf("%s\nwith    %v (%v)\nwithout %v (%v)", what, got, gotErr, want, wantErr)
	}
}

// sortNames brings images and their names into an order: runtimes have none.
func sortNames(answer proto.Message) {
	var images []*runtimeapi.Image
	switch answer := answer.(type) {
	case *runtimeapi.ImageStatusResponse:
		if answer.Image != nil {
			images = append(images, answer.Image)
		}
	case *runtimeapi.ListImagesResponse:
		images = answer.Images
	}
	for _, image := range images {
		slices.Sort(image.RepoTags)
		slices.Sort(image.RepoDigests)
	}
	slices.SortFunc(images, func(a, b *runtimeapi.Image) int { return strings.Compare(a.Id, b.Id) })
}

func (w *twins) note(format string, arguments ...any) {
	w.log = append(w.log, fmt.Sprintf(format, arguments...))
}
