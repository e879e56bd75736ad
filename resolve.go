package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"image-cri-shim/registry"
	"image-cri-shim/rewrite"
)

func resolveCommand() *cli.Command {
	return &cli.Command{
		Name:      "resolve",
		Usage:     "say which registry would serve an image, asking the registries now",
		ArgsUsage: "IMAGE...",
		Description: `For each image: the reference it means, each registry's reference for it and
what that registry answers, and what the runtime would be asked for.

The exit code is 1 if there is an image that no registry says it has.`,
		Flags: []cli.Flag{
			fileFlag(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print `FORMAT`: text or json", Value: "text"},
		},
		Action: resolve,
	}
}

func resolve(c *cli.Context) error {
	if !c.Args().Present() {
		return errors.New("resolve: name at least one image, such as nginx:1.25")
	}
	format := c.String("output")
	if format != "text" && format != "json" {
		return fmt.Errorf("resolve: --output: found %q, expected text or json", format)
	}
	for _, image := range c.Args().Slice() {
		if strings.HasPrefix(image, "-") {
			return fmt.Errorf("resolve: found %q among the images: put options before them", image)
		}
	}
	_, registries, err := configured(c)
	if err != nil {
		return err
	}
	defer registries.Close()
	explanations := make([]explanation, 0, c.NArg())
	served := true
	for _, image := range c.Args().Slice() {
		e := explain(c.Context, registries, image)
		explanations = append(explanations, e)
		served = served && e.Registry != ""
	}
	if err := printExplanations(c.App.Writer, format, explanations); err != nil {
		return err
	}
	if !served {
		return cli.Exit("", 1)
	}
	return nil
}

// explanation is what resolve says of one image.
type explanation struct {
	Image      string   `json:"image"`
	Reference  string   `json:"reference,omitempty"` // canonical
	Problem    string   `json:"problem,omitempty"`   // why there is no reference
	Candidates []answer `json:"candidates"`
	Pulled     string   `json:"pulled"`             // what the runtime is asked for
	Registry   string   `json:"registry,omitempty"` // that serves it; empty: the original's own
	User       string   `json:"user,omitempty"`     // whose credentials are sent there
}

// answer is one registry's.
type answer struct {
	Registry  string  `json:"registry"`
	Reference string  `json:"reference"`
	Answer    string  `json:"answer"`
	Reason    string  `json:"reason,omitempty"`
	Digest    string  `json:"digest,omitempty"`
	Seconds   float64 `json:"seconds"`
}

func explain(ctx context.Context, registries *registry.Set, image string) explanation {
	e := explanation{Image: image, Pulled: image, Candidates: []answer{}}
	name, err := rewrite.Parse(image)
	if err != nil {
		e.Problem = err.Error()
		return e
	}
	e.Reference = name.String()
	for a := range registries.Find(ctx, name) {
		line := answer{
			Registry:  a.Registry,
			Reference: a.Reference,
			Answer:    a.State.String(),
			Digest:    a.Digest,
			Seconds:   a.Duration.Seconds(),
		}
		if a.Err != nil {
			line.Reason = a.Err.Error()
		}
		e.Candidates = append(e.Candidates, line)
		if a.State == registry.Found && e.Registry == "" {
			e.Pulled, e.Registry, e.User = a.Reference, a.Registry, a.Credentials.Username
			if e.User == "" && a.Credentials != (registry.Credentials{}) {
				e.User = "a token"
			}
		}
	}
	return e
}

func printExplanations(output io.Writer, format string, explanations []explanation) error {
	if format == "json" {
		encoder := json.NewEncoder(output)
		encoder.SetIndent("", "  ")
		return encoder.Encode(explanations)
	}
	table := tabwriter.NewWriter(output, 0, 0, 2, ' ', 0)
	for _, e := range explanations {
		e.print(table)
	}
	return table.Flush()
}

func (e explanation) print(table io.Writer) {
	_, _ = fmt.Fprintln(table, e.Image)
	if e.Problem != "" {
		_, _ = fmt.Fprintf(table, "  forwarded as it is: %s\n", e.Problem)
		return
	}
	_, _ = fmt.Fprintf(table, "  means\t%s\n", e.Reference)
	for _, a := range e.Candidates {
		detail := a.Reason
		if detail == "" {
			detail = a.Digest
		}
		took := time.Duration(a.Seconds * float64(time.Second)).Round(time.Millisecond / 10)
		_, _ = fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\n", a.Registry, a.Reference, a.Answer, took, detail)
	}
	switch {
	case e.Registry == "" && e.unsure():
		_, _ = fmt.Fprintf(table, "  pulled as\t%s\tas it was asked for: no registry says that it has it\n", e.Pulled)
	case e.Registry == "":
		_, _ = fmt.Fprintf(table, "  pulled as\t%s\tas it was asked for: no registry has it\n", e.Pulled)
	case e.User == "":
		_, _ = fmt.Fprintf(table, "  pulled as\t%s\twithout credentials\n", e.Pulled)
	default:
		_, _ = fmt.Fprintf(table, "  pulled as\t%s\twith the credentials of %s\n", e.Pulled, e.User)
	}
}

// unsure tells whether there is a registry that could not be asked.
func (e explanation) unsure() bool {
	return slices.ContainsFunc(e.Candidates, func(a answer) bool { return a.Answer == registry.Unknown.String() })
}
