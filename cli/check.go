package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"image-cri-shim/config"
	"image-cri-shim/lookup"
	"image-cri-shim/registry"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "check the configuration and print its meaning, with secrets masked",
		ArgsUsage: "[-]",
		Description: `The first line on standard output is the verdict. The effective settings follow it.
Errors and warnings go to standard error, with their line and key. With the argument -,
check reads the configuration from standard input.

check contacts no registry and prints no secrets.

The exit code is 1 if the configuration is invalid or can't be read, 64 if the arguments
are wrong, else 0. Warnings do not change it.`,
		Flags: []cli.Flag{
			fileFlag(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print `FORMAT`: text or json", Value: "text"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print errors and warnings only"},
			&cli.BoolFlag{Name: "verbose", Usage: "list the valid keys after an unknown key"},
		},
		Action: check,
	}
}

// checked is the result of check. docs/check.md describes its JSON.
type checked struct {
	File     string            `json:"file"`
	Valid    bool              `json:"valid"`
	Errors   []config.Message  `json:"errors"`
	Warnings []config.Message  `json:"warnings"`
	Settings *config.Effective `json:"settings,omitempty"` // absent if there are errors
}

func check(c *cli.Context) error {
	name, open := file(c), config.Load
	if argument := c.Args().First(); argument == "-" && c.NArg() == 1 {
		name = "<stdin>"
		open = func(name string) (*config.Config, error) { return config.Read(name, os.Stdin) }
	} else if argument != "" {
		return usageErrorHint(c, "name the configuration with --file", fmt.Sprintf("unexpected argument %q", c.Args().Get(c.NArg()-1)))
	}
	settings, err := loadedCompletely(name, open)
	if config.IsUnreadable(err) && c.String("output") == "text" {
		return err
	}
	result := checked{File: name, Valid: err == nil, Errors: []config.Message{}, Warnings: []config.Message{}}
	if err != nil {
		result.Errors = config.ProblemsOf(name, err)
	} else {
		result.Warnings = append(result.Warnings, settings.Warnings...)
		effective := settings.Effective()
		result.Settings = &effective
		settings.Warnings = nil // printed to standard error
	}
	if err := result.print(c, settings); err != nil {
		return err
	}
	if !result.Valid {
		return cli.Exit("", 1)
	}
	return nil
}

// loadedCompletely returns the configuration with all warnings, including those about the
// content of the files that it names.
func loadedCompletely(name string, open func(string) (*config.Config, error)) (*config.Config, error) {
	settings, err := open(name)
	if err != nil {
		return nil, err
	}
	registries, err := lookup.Open(name, settings, registry.Options{})
	if err != nil {
		return nil, err
	}
	defer registries.Close()
	settings.Warnings = append(settings.Warnings, lookup.Warnings(settings, registries)...)
	return settings, nil
}

func (r *checked) print(c *cli.Context, settings *config.Config) error {
	if !c.Bool("verbose") {
		for i := range r.Errors {
			r.Errors[i].Keys = nil
		}
	}
	if c.String("output") == "json" {
		if c.Bool("quiet") {
			r.Settings = nil
		}
		encoder := json.NewEncoder(c.App.Writer)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	if !c.Bool("quiet") {
		if _, err := fmt.Fprintln(c.App.Writer, r.verdict()); err != nil {
			return err
		}
	}
	printMessages(c.App.ErrWriter, "error", r.Errors)
	printMessages(c.App.ErrWriter, "warning", r.Warnings)
	if !r.Valid || c.Bool("quiet") {
		return nil
	}
	if _, err := fmt.Fprintln(c.App.Writer); err != nil {
		return err
	}
	return settings.Describe(c.App.Writer)
}

func (r *checked) verdict() string {
	switch {
	case !r.Valid:
		return fmt.Sprintf("%s is not valid, %s", r.File, count(len(r.Errors), "error"))
	case len(r.Warnings) > 0:
		return fmt.Sprintf("%s is valid, %s", r.File, count(len(r.Warnings), "warning"))
	}
	return r.File + " is valid"
}

// printMessages writes one line for each message, as compilers do.
func printMessages(w io.Writer, level string, messages []config.Message) {
	for _, message := range messages {
		fmt.Fprintf(w, "%s: %s\n", level, message)
		if len(message.Keys) > 0 {
			fmt.Fprintf(w, "  the valid keys: %s\n", strings.Join(message.Keys, ", "))
		}
	}
}

// count formats a number with a noun, in the plural unless it is 1.
func count[N int | int64](n N, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
