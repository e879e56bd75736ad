package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// node is a runtime whose docker.io is a registry in this program, and the shim once it
// is started.
type node struct {
	binary, folder string
	image          v1.Image // pushed to the registries
	original       *testbed.FaultyRegistry
	runtime        *testbed.EmbeddedRuntime
	shim           *testbed.Shim
	through        *testbed.Client
	stops          []func()
}

// withNode calls measure with a new node, and removes the node and its folder afterwards.
func withNode(ctx context.Context, binary string, measure func(*node) error) (err error) {
	n := &node{binary: binary}
	if n.folder, err = os.MkdirTemp("", "bounds-"); err != nil {
		return fmt.Errorf("create a folder: %w", err)
	}
	n.stops = append(n.stops, func() { _ = os.RemoveAll(n.folder) })
	defer func() {
		for _, stop := range slices.Backward(n.stops) {
			stop()
		}
	}()
	if n.image, err = testbed.SmallImage("of the bounds"); err != nil {
		return err
	}
	n.original = n.registry(testbed.Healthy)
	n.runtime, err = testbed.StartEmbeddedRuntime(ctx, testbed.RuntimeOptions{
		Folder: filepath.Join(n.folder, "runtime"),
		Hosts:  map[string]testbed.Host{"docker.io": {Address: n.original.Address()}},
	})
	if err != nil {
		return err
	}
	n.stops = append(n.stops, n.runtime.Stop)
	return measure(n)
}

func (n *node) registry(fault testbed.Fault) *testbed.FaultyRegistry {
	registry := testbed.StartFaultyRegistry(fault, nil)
	n.stops = append(n.stops, registry.Close)
	return registry
}

// fill pushes the image to a registry under each name.
func (n *node) fill(ctx context.Context, registry *testbed.FaultyRegistry, names int) error {
	for i := range names {
		if err := registry.Push(ctx, fmt.Sprintf("team/app-%d:1", i), n.image); err != nil {
			return err
		}
	}
	return nil
}

func name(i int) string { return fmt.Sprintf("docker.io/team/app-%d:1", i) }

// start starts the shim with registries; further are more lines of its configuration.
func (n *node) start(ctx context.Context, registries []*testbed.FaultyRegistry, further string) (err error) {
	configuration := further + "registries:\n"
	for _, registry := range registries {
		configuration += "- address: " + registry.Address() + "\n"
	}
	n.shim, err = testbed.StartShim(ctx, testbed.ShimOptions{
		Binary: n.binary, Folder: filepath.Join(n.folder, "shim"), Runtime: n.runtime.Socket(), Configuration: configuration,
	})
	if err != nil {
		return err
	}
	n.stops = append(n.stops, func() { _ = n.shim.Stop() })
	if n.through, err = testbed.Dial(ctx, n.shim.Socket()); err != nil {
		return err
	}
	n.stops = append(n.stops, func() { _ = n.through.Close() })
	return nil
}

// pull pulls an image through a client. An empty image ID is an error.
func pull(ctx context.Context, client *testbed.Client, image string) error {
	id, err := client.Images.PullImage(ctx, &runtimeapi.ImageSpec{Image: image}, nil, nil)
	if err == nil && id == "" {
		err = errors.New("no image")
	}
	return err
}
