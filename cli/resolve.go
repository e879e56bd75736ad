package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
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
		Usage:     "explain which registry would serve an image, and which names the node has for it",
		ArgsUsage: "IMAGE...",
		Description: `For each image, resolve prints the reference that it means; for each registry the rule
that applies, the reference it is asked for and its answer; where image names are kept;
the names that the ledger and the runtime have; and the reference that the runtime would
pull. resolve changes no image names.

resolve asks the running shim, so its output includes the cache and the registries known
to be down. Without a running shim, with another file than the shim's, or with --fresh,
it asks the registries directly. If the file is not valid, the running shim still has its
last good configuration: resolve prints a warning and uses that.

The exit code is 0 if a registry has each image, 1 if there is an image that no registry
has, and 2 if that is unknown, because a registry could not be asked or resolve failed. It
does not depend on the runtime: "unknown" in the lines of the runtime and of the node means
that the runtime does not answer.

Text has 12 digits of each digest; --output json has all of them.`,
		Flags: []cli.Flag{
			fileFlag(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print `FORMAT`: text or json", Value: "text"},
			&cli.BoolFlag{Name: "all-nodes-images", Usage: "explain each image of the runtime in one line"},
			&cli.BoolFlag{Name: "fresh", Usage: "use the file and the registries directly, without the running shim"},
		},
		Action: resolve,
	}
}

func resolve(c *cli.Context) error {
	format := c.String("output")
	names := c.Args().Slice()
	switch all := c.Bool("all-nodes-images"); {
	case all && len(names) > 0:
		return usageError(c, "found image %q and --all-nodes-images, expected only one of them", names[0])
	case !all && len(names) == 0:
		return usageError(c, "name at least one image, such as nginx:1.25")
	}
	images, note, err := explained(c, names)
	if err != nil {
		return cli.Exit(withHint(c, fmt.Errorf("resolve: %w", err)), exitUnknown)
	}
	if note != "" {
		fmt.Fprintln(c.App.ErrWriter, "image-cri-shim:", note)
	}
	if err := printImages(c, format, images); err != nil {
		return cli.Exit(fmt.Errorf("resolve: %w", err), exitUnknown)
	}
	missing := slices.DeleteFunc(images, func(i explain.Image) bool { return i.Registry != "" })
	switch {
	case slices.ContainsFunc(missing, func(i explain.Image) bool { return i.HasFailures() }):
		return cli.Exit("", exitUnknown)
	case len(missing) > 0:
		return cli.Exit("", 1)
	}
	return nil
}

// exitUnknown is the exit code if it is unknown whether a registry has the images.
const exitUnknown = 2

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

// explained asks the running shim, or the registries directly if there is no shim that runs
// with the file. Without names, it explains all images of the node. note is a remark on the
// source of the result and may be empty.
func explained(c *cli.Context, names []string) (images []explain.Image, note string, err error) {
	fresh := c.Bool("fresh")
	var settings *config.Config
	socket := ""
	if fresh {
		settings, err = config.Load(file(c))
	} else {
		socket, settings, err = adminSocket(c)
	}
	if err != nil {
		return nil, "", err
	}
	if !fresh {
		answer := explain.Resolution{}
		switch err := admin.Get(c.Context, socket, admin.ResolvePath, url.Values{"image": names}, &answer); {
		case settings == nil: // the file is not valid
			return answer.Images, "", err
		case errors.Is(err, admin.ErrNotRunning):
			note = err.Error() + ": asking the registries directly"
		case err != nil:
			return nil, "", err
		case !sameFile(answer.File, file(c)):
			note = fmt.Sprintf("the shim runs with %s: asking the registries directly", answer.File)
		default:
			return answer.Images, answer.Note(), nil
		}
	}
	ledger, unread := ledger.Read(settings.StateDirectory)
	if unread != nil {
		note = strings.TrimPrefix(note+"; ", "; ") + fmt.Sprintf("names of pulled images are unknown: %v", unread)
	}
	images, err = explainedFresh(c.Context, file(c), settings, ledger, names)
	return images, note, err
}

// explainedFresh explains images without a running shim. It uses the configuration file, the
// registries, the runtime and the ledger's file, and changes none of them.
func explainedFresh(ctx context.Context, file string, settings *config.Config, ledger *ledger.Ledger, names []string) ([]explain.Image, error) {
	explainer, end, err := freshExplainer(ctx, file, settings, ledger)
	if err != nil {
		return nil, err
	}
	defer end()
	return explainer.Explain(ctx, names)
}
