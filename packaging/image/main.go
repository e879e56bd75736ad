// Command image builds the container image of image-cri-shim-agent, without a container engine:
//
//	image --binaries bin/image --license LICENSE --version v1.2.3 --revision 0123abc \
//	  --created 2026-01-02T03:04:05Z --output dist [--push registry/repository] amd64 arm64
//
// The folder of binaries has a folder for each architecture with the two programs of the image.
// The output is a folder in the OCI image layout and a tar of it, which containerd, Docker,
// Podman and tools for registries import. Equal input gives equal bytes on any machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/distribution/reference"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// run builds the image, pushes it on request, and prints its digest and its references.
func run(ctx context.Context, arguments []string, out io.Writer) error {
	var source source
	var output, imageName, target, created string
	var plainHTTP bool
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.StringVar(&source.binaries, "binaries", "", "`folder` with a folder of binaries for each architecture")
	flags.StringVar(&source.license, "license", "", "license `file` of the image")
	flags.StringVar(&source.version, "version", "", "version, and tag of the image")
	flags.StringVar(&source.revision, "revision", "", "git `commit`")
	flags.StringVar(&created, "created", "", "`time` of the commit in RFC 3339")
	flags.StringVar(&output, "output", "", "`folder` of the layout and the tar")
	flags.StringVar(&imageName, "name", "image-cri-shim-agent", "`repository` of the image in the tar")
	flags.StringVar(&target, "push", "", "push to this `repository[:tag]`")
	flags.BoolVar(&plainHTTP, "plain-http", false, "push without TLS to registries that are not on loopback, too")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	commitTime, err := time.Parse(time.RFC3339, created)
	if err != nil {
		return fmt.Errorf("--created: %w", err)
	}
	source.created = commitTime.UTC()
	source.architectures = flags.Args()
	tagged, err := parse(imageName, source.version)
	if err != nil {
		return fmt.Errorf("--name and --version: %w", err)
	}
	var remote reference.NamedTagged // nil without --push
	if target != "" {
		if remote, err = parse(target, source.version); err != nil {
			return fmt.Errorf("--push: %w", err)
		}
	}

	index, err := source.build()
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	layout := filepath.Join(output, fmt.Sprintf("image-cri-shim-agent_%s_oci", source.version))
	if err := writeLayout(layout, index, tagged); err != nil {
		return fmt.Errorf("write %s: %w", layout, err)
	}
	if err := writeTar(layout+".tar", layout, source.created); err != nil {
		return fmt.Errorf("write %s.tar: %w", layout, err)
	}
	fmt.Fprintf(out, "digest: %s\nlayout: %s\ntar:    %s.tar\nimage:  %s (in the tar)\n", digest, layout, layout, tagged)
	if remote == nil {
		return nil
	}
	if err := push(ctx, remote, index, plainHTTP); err != nil {
		return err
	}
	fmt.Fprintf(out, "pushed: %s@%s\n", remote, digest)
	return nil
}

// parse parses an image name. Without a tag, it gets the default one.
func parse(imageName, tag string) (reference.NamedTagged, error) {
	named, err := reference.ParseNormalizedNamed(imageName)
	if err != nil {
		return nil, fmt.Errorf("image name %q: %w", imageName, err)
	}
	if _, ok := named.(reference.Digested); ok {
		return nil, fmt.Errorf("image name %q has a digest: use a tag, or only the repository", imageName)
	}
	if tagged, ok := named.(reference.NamedTagged); ok {
		return tagged, nil
	}
	tagged, err := reference.WithTag(named, tag)
	if err != nil {
		return nil, fmt.Errorf("tag %q: %w", tag, err)
	}
	return tagged, nil
}
