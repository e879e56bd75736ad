package bed

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"image-cri-shim/e2e/testbed"
)

const (
	// sandboxImage is the image of each pod's sandbox, which containerd itself pulls.
	sandboxImage = "registry.k8s.io/pause:3.10"

	// PreloadedImage is an image that each node has from the beginning. Its command sleeps.
	PreloadedImage = "docker.io/library/preloaded:1"
)

// preload imports the images that a node has before it can pull, as on a machine without
// internet.
func (n *Node) preload(ctx context.Context) error {
	images := make(map[name.Reference]v1.Image)
	for _, reference := range []string{sandboxImage, PreloadedImage} {
		image, err := testbed.Image(reference)
		if err != nil {
			return err
		}
		tag, err := name.NewTag(reference)
		if err != nil {
			return err
		}
		images[tag] = image
	}
	return n.Import(ctx, images)
}

// Import stores images in containerd under their references.
func (n *Node) Import(ctx context.Context, images map[name.Reference]v1.Image) error {
	var archive bytes.Buffer
	if err := tarball.MultiRefWrite(images, &archive); err != nil {
		return fmt.Errorf("import images on %s: %w", n.Name, err)
	}
	return n.importArchive(ctx, &archive)
}

// importArchive stores the images of an archive in containerd.
func (n *Node) importArchive(ctx context.Context, archive io.Reader) error {
	if _, err := n.RunWith(ctx, archive, "ctr", "--namespace", "k8s.io", "images", "import", "-"); err != nil {
		return fmt.Errorf("import images: %w", err)
	}
	return nil
}

// MountAgent mounts the image of the agent that `make image` has built for a version at a
// folder of the node.
func (n *Node) MountAgent(ctx context.Context, version, folder string) error {
	archive, err := program(version + "/image-cri-shim-agent_" + version + "_oci.tar")
	if err != nil {
		return err
	}
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	image := "docker.io/library/" + AgentRepository + ":" + version
	if err := n.importArchive(ctx, file); err != nil {
		return err
	}
	if _, err := n.Run(ctx, "mkdir", "-p", folder); err != nil {
		return err
	}
	_, err = n.Run(ctx, "ctr", "--namespace", "k8s.io", "images", "mount", image, folder)
	return err
}
