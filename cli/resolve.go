package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"image-cri-shim/admin"
	"image-cri-shim/config"
	"image-cri-shim/explain"
	"image-cri-shim/rewrite/ledger"
)

func resolveCommand() *cli.Command {
	return &cli.Command{
		Name:      "resolve",
		Usage:     "explain which registry would serve an image, and what the node has of it",
		ArgsUsage: "IMAGE...",
		Description: `For each image: the reference it means; for each registry which rule of the
configuration decides, what it is asked for and what it answers; where names of
images are kept, and which of them the ledger and the runtime have; and what the
runtime would be asked to pull. No image gets a name by it.

The running shim is asked, so that its cache and its circuits show. Where it is not
running, or runs with another file, or with --fresh, the registries are asked now.

The exit code is 1 if there is an image that no registry says it has.`,
		Flags: []cli.Flag{
			fileFlag(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print `FORMAT`: text or json", Value: "text"},
			&cli.BoolFlag{Name: "all-nodes-images", Usage: "explain the images that the runtime has now, in a line each"},
			&cli.BoolFlag{Name: "fresh", Usage: "go by the file as it is now, without the running shim"},
		},
		Action: resolve,
	}
}

func resolve(c *cli.Context) error {
	format := c.String("output")
	names := c.Args().Slice()
	switch all := c.Bool("all-nodes-images"); {
	case format != "text" && format != "json":
		return fmt.Errorf("resolve: --output: found %q, expected text or json", format)
	case all && len(names) > 0:
		return fmt.Errorf("resolve: found the image %q beside --all-nodes-images: give one of them", names[0])
	case !all && len(names) == 0:
		return errors.New("resolve: name at least one image, such as nginx:1.25")
	}
	for _, name := range names {
		if strings.HasPrefix(name, "-") {
			return fmt.Errorf("resolve: found %q among the images: put options before them", name)
		}
	}
	images, note, err := explained(c, names)
	if err != nil {
		return fmt.Errorf("resolve: %w", err)
	}
	if note != "" {
		fmt.Fprintln(c.App.ErrWriter, "image-cri-shim:", note)
	}
	if err := printImages(c, format, images); err != nil {
		return err
	}
	if slices.ContainsFunc(images, func(i explain.Image) bool { return i.Registry == "" }) {
		return cli.Exit("", 1)
	}
	return nil
}

func printImages(c *cli.Context, format string, images []explain.Image) error {
	switch {
	case format == "json":
		encoder := json.NewEncoder(c.App.Writer)
		encoder.SetIndent("", "  ")
		return encoder.Encode(images)
	case c.Bool("all-nodes-images"):
		return explain.WriteSummary(c.App.Writer, images)
	default:
		return explain.WriteText(c.App.Writer, images)
	}
}

// explained asks the running shim or, where that can't answer for the file, does
// without it. No names mean those of the node's images. The note says who has
// answered where that is not plain.
func explained(c *cli.Context, names []string) (images []explain.Image, note string, err error) {
	settings, err := config.Load(file(c))
	if err != nil {
		return nil, "", err
	}
	if !c.Bool("fresh") {
		answer := explain.Resolution{}
		switch err := admin.Get(c.Context, admin.Socket(settings.StateDirectory), admin.ResolvePath, url.Values{"image": names}, &answer); {
		case errors.Is(err, admin.ErrNotRunning):
			note = err.Error() + ": the registries are asked now"
		case err != nil:
			return nil, "", err
		case !sameFile(answer.File, file(c)):
			note = fmt.Sprintf("the shim runs with %s: the registries are asked now", answer.File)
		default:
			return answer.Images, answer.Note(), nil
		}
	}
	ledger, unread := ledger.Read(settings.StateDirectory)
	if unread != nil {
		note = strings.TrimPrefix(note+"; ", "; ") + fmt.Sprintf("without the names of pulled images: %v", unread)
	}
	images, err = explainedFresh(c.Context, file(c), settings, ledger, names)
	return images, note, err
}

// explainedFresh goes by the file, the registries, the runtime and the ledger's
// file as they are now, and changes none of them.
func explainedFresh(ctx context.Context, file string, settings *config.Config, ledger *ledger.Ledger, names []string) ([]explain.Image, error) {
	explainer, end, err := freshExplainer(ctx, file, settings, ledger)
	if err != nil {
		return nil, err
	}
	defer end()
	return explainer.Explain(ctx, names)
}

func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}
