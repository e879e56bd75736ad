package main

import (
	"context"
	"fmt"
	"os"
	"regexp"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// measureMemory asks for many distinct names in distinct repositories. No registry has
// them, and the shim does not fall back to the original registry.
func measureMemory(ctx context.Context, n *node, row report, names int) error {
	if err := n.start(ctx, []*testbed.FaultyRegistry{n.registry(testbed.Healthy)}, "fallback: never\n"); err != nil {
		return err
	}
	asked := 0
	for _, next := range []int{0, names / 10, names / 2, names} {
		if err := n.askFor(ctx, asked, next); err != nil {
			return err
		}
		asked = next
		if err := n.reportMemory(row, asked); err != nil {
			return err
		}
	}
	return nil
}

// askFor pulls the images numbered from (inclusive) to to (exclusive) and asks for their
// status.
func (n *node) askFor(ctx context.Context, from, to int) error {
	images := runtimeapi.NewImageServiceClient(n.through.Connection)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := from; i < to && ctx.Err() == nil; i++ {
		group.Go(func() error {
			spec := &runtimeapi.ImageSpec{Image: name(i)}
			if _, err := images.PullImage(ctx, &runtimeapi.PullImageRequest{Image: spec}); status.Code(err) != codes.NotFound {
				return fmt.Errorf("pull %s: got %w, want NotFound", spec.Image, err)
			}
			_, err := images.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: spec})
			return err
		})
	}
	return group.Wait()
}

// collection matches a line of the Go runtime's gctrace; its group is the live heap.
var collection = regexp.MustCompile(`(?m)^gc \d+ @.*\d+->\d+->(\d+) MB`)

func (n *node) reportMemory(row report, asked int) error {
	resident, err := n.shim.ResidentMemory()
	if err != nil {
		return err
	}
	log, err := os.ReadFile(n.shim.Log())
	if err != nil {
		return err
	}
	live := "not collected yet"
	if collections := collection.FindAllSubmatch(log, -1); len(collections) > 0 {
		live = string(collections[len(collections)-1][1]) + " MB"
	}
	row(fmt.Sprintf("memory after %d distinct names", asked), fmt.Sprintf("heap %s, resident %d MB", live, resident>>20), "does not grow with the names")
	return nil
}
