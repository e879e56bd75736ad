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
	diffSteps        = 200
	diffSeedVariable = "EQUIVALENCE_SEED" // the environment variable that repeats a run
)

// TestAnswersEqualThoseWithoutTheShim makes the same random calls to a shim, whose
// containerd pulls from the private registry, and to a containerd that pulls each image
// from the registry in its name. Both must give the same answers.
func TestAnswersEqualThoseWithoutTheShim(t *testing.T) {
	needContainerd(t)
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(diffSeedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s=%d repeats this run", diffSeedVariable, seed)
	p := newDiffPair(t, rand.New(rand.NewPCG(seed, 1)))
	for range diffSteps {
		p.randomStep()
		if t.Failed() {
			t.Fatalf("after\n%s", strings.Join(p.log, "\n"))
		}
	}
	if !slices.ContainsFunc(shared.private.Requests(), func(r testbed.Request) bool {
		return r.Method == http.MethodGet && strings.Contains(r.Path, "/manifests/")
	}) {
		t.Error("no image was pulled from the private registry")
	}
}

func (p *diffPair) randomStep() {
	name := p.names[p.random.IntN(len(p.names))]
	switch action := p.random.IntN(20); {
	case action < 8:
		p.wantSameAnswer("PullImage", &runtimeapi.PullImageRequest{Image: p.spec(p.spelling(name)), Auth: callerLogin}, &runtimeapi.PullImageResponse{})
	case action < 11:
		p.publish(name)
	case action < 13:
		p.wantSameAnswer("RemoveImage", &runtimeapi.RemoveImageRequest{Image: p.spec(p.spelling(name))}, &runtimeapi.RemoveImageResponse{})
	case action < 15:
		p.wantSameAnswer("RemoveImage", &runtimeapi.RemoveImageRequest{Image: p.spec(p.id())}, &runtimeapi.RemoveImageResponse{})
	case action < 16:
		p.wantSameAnswer("PullImage", &runtimeapi.PullImageRequest{Image: p.spec(p.unknownName()), Auth: callerLogin}, &runtimeapi.PullImageResponse{})
	case action < 17:
		p.setPrivateDown(!p.privateDown)
	default:
		p.wantSameStatus(p.unknownName())
		p.wantSameStatus(p.id())
	}
	p.wantSameImages()
}

// wantSameImages requires equal image lists and equal statuses of some names.
func (p *diffPair) wantSameImages() {
	p.wantSameAnswer("ListImages", &runtimeapi.ListImagesRequest{}, &runtimeapi.ListImagesResponse{})
	if p.streams {
		p.wantSameStream()
	}
	for range len(p.names) / 2 {
		p.wantSameStatus(p.spelling(p.names[p.random.IntN(len(p.names))]))
	}
}

func (p *diffPair) wantSameStatus(image string) {
	p.wantSameAnswer("ImageStatus", &runtimeapi.ImageStatusRequest{Image: p.spec(image)}, &runtimeapi.ImageStatusResponse{})
}

func (p *diffPair) spec(image string) *runtimeapi.ImageSpec {
	return &runtimeapi.ImageSpec{Image: image}
}

// wantSameAnswer calls both runtimes and requires equal answers or equal errors.
func (p *diffPair) wantSameAnswer(method string, request, response proto.Message) {
	p.t.Helper()
	full := "/" + p.apis[p.random.IntN(len(p.apis))] + ".ImageService/" + method
	if method != "ListImages" && method != "ImageStatus" {
		p.logStep("%s %v", full, request.(interface{ GetImage() *runtimeapi.ImageSpec }).GetImage())
	}
	p.callBoth(fmt.Sprintf("%s %v", full, request), func(ctx context.Context, connection *grpc.ClientConn) (proto.Message, error) {
		answer := proto.Clone(response)
		err := connection.Invoke(ctx, full, request, answer)
		return answer, err
	})
}

func (p *diffPair) wantSameStream() {
	p.t.Helper()
	p.callBoth("StreamImages", func(ctx context.Context, connection *grpc.ClientConn) (proto.Message, error) {
		return streamImages(ctx, connection)
	})
}

// streamImages returns the images in all messages of the stream.
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

func (p *diffPair) callBoth(what string, call func(context.Context, *grpc.ClientConn) (proto.Message, error)) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	var got, want proto.Message
	var gotErr, wantErr error
	var calls sync.WaitGroup
	calls.Go(func() { got, gotErr = call(ctx, p.shim) })
	calls.Go(func() { want, wantErr = call(ctx, p.direct) })
	calls.Wait()
	sortNames(got)
	sortNames(want)
	if !sameError(gotErr, wantErr) || wantErr == nil && !proto.Equal(got, want) {
		p.t.Errorf("%s\nwith    %v (%v)\nwithout %v (%v)", what, got, gotErr, want, wantErr)
	}
}

// sortNames sorts images and their names, which runtimes return in any order.
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

func (p *diffPair) logStep(format string, arguments ...any) {
	p.log = append(p.log, fmt.Sprintf(format, arguments...))
}
