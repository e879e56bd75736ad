package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// show requests images as kubelet does, and prints the results.
func (n *node) show(ctx context.Context, output io.Writer) error {
	if err := n.showPulls(ctx, output); err != nil {
		return err
	}
	if n.pods {
		if err := n.showContainer(ctx, output); err != nil {
			return err
		}
	}
	return n.showImages(ctx, output)
}

func (n *node) showPulls(ctx context.Context, output io.Writer) error {
	fmt.Fprint(output, "\nPullImage through the shim\n\n")
	table := newTable(output, "ASKED", "SERVED BY", "IMAGE ID", "TIME")
	var refused error
	for _, asked := range []string{
		"nginx:1.25",
		"docker.io/library/nginx:1.25",
		"docker.io/library/nginx@" + n.digest.String(),
		"no-registry-has-this:1.0",
	} {
		start := time.Now()
		id, err := n.through.Images.PullImage(ctx, &runtimeapi.ImageSpec{Image: asked}, nil, nil)
		took := time.Since(start).Round(time.Millisecond)
		if err != nil {
			if ctx.Err() != nil || refused != nil || asked != "no-registry-has-this:1.0" {
				return errors.Join(err, table.Flush())
			}
			refused, id = err, "-"
		}
		decision, err := n.shim.Decision(ctx, "PullImage", asked)
		if err != nil {
			return err
		}
		table.row(shorten(asked), servedBy(decision), shorten(id), took.String())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if refused == nil {
		return errors.New("pulled an image that no registry has")
	}
	_, err := fmt.Fprintf(output, "\nThe error of the last one: the runtime's own, with the shim's attempts:\n  %s\n", status.Convert(refused).Message())
	return err
}

// servedBy returns the registry in the shim's log line, or the reason why there is none.
func servedBy(d testbed.Decision) string {
	if d.Registry == "" {
		return "none: " + d.Reason
	}
	return d.Registry
}

func (n *node) showContainer(ctx context.Context, output io.Writer) (err error) {
	pod, err := testbed.RunPod(ctx, n.through, "demo", filepath.Join(n.folder, "logs"))
	if err != nil {
		return err
	}
	// If Ctrl-C ends ctx, the containers end with containerd.
	defer func() { err = errors.Join(err, pod.Remove(ctx)) }()
	id, err := pod.Run(ctx, "web", "nginx:1.25", "sh", "-c", "echo hello from a container; exec sleep 3600")
	if err != nil {
		return err
	}
	command := []string{"cat", testbed.VariantFile}
	stdout, _, err := n.through.Runtime.ExecSync(ctx, id, command, 10*time.Second)
	if err != nil {
		return err
	}
	printed, err := pod.Log("web")
	if err != nil {
		return err
	}
	state, err := n.through.Runtime.ContainerStatus(ctx, id, false)
	if err != nil {
		return err
	}
	fmt.Fprint(output, "\nA container created as nginx:1.25\n\n")
	table := newTable(output, "its log", strings.TrimSpace(printed))
	table.row("exec "+strings.Join(command, " "), strings.TrimSpace(string(stdout)))
	table.row("image in its status", state.GetStatus().GetImage().GetImage())
	return table.Flush()
}

func (n *node) showImages(ctx context.Context, output io.Writer) error {
	for _, side := range []struct {
		title  string
		client *testbed.Client
	}{
		{"ListImages through the shim", n.through},
		{"ListImages of the runtime itself (containerd keeps the requested names, so it lists the same)", n.direct},
	} {
		images, err := side.client.Images.ListImages(ctx, nil)
		if err != nil {
			return err
		}
		slices.SortFunc(images, func(a, b *runtimeapi.Image) int { return strings.Compare(a.Id, b.Id) })
		fmt.Fprintf(output, "\n%s\n\n", side.title)
		table := newTable(output, "IMAGE ID", "NAMES")
		for _, image := range images {
			id := shorten(image.Id)
			for _, name := range slices.Concat(image.RepoTags, image.RepoDigests) {
				table.row(id, shorten(name))
				id = ""
			}
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// table aligns its columns on Flush.
type table struct{ *tabwriter.Writer }

func newTable(output io.Writer, titles ...string) table {
	t := table{tabwriter.NewWriter(output, 0, 0, 3, ' ', 0)}
	t.row(titles...)
	return t
}

func (t table) row(cells ...string) {
	_, _ = fmt.Fprintf(t, "  %s\n", strings.Join(cells, "\t")) // Flush returns the error
}

// shorten cuts the digest in a name or ID to twelve digits, as crictl does.
func shorten(name string) string {
	const mark, digits = "sha256:", 12
	before, digest, found := strings.Cut(name, mark)
	if !found || len(digest) <= digits {
		return name
	}
	return before + mark + digest[:digits]
}
