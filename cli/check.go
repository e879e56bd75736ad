package cli

import (
	"github.com/urfave/cli/v2"

	"image-cri-shim/config"
	"image-cri-shim/lookup"
	"image-cri-shim/registry"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "check the configuration and print its meaning, with secrets masked",
		Flags: []cli.Flag{fileFlag()},
		Action: func(c *cli.Context) error {
			settings, err := config.Load(file(c))
			if err != nil {
				return err
			}
			registries, err := lookup.Open(file(c), settings, registry.Options{})
			if err != nil {
				return err
			}
			defer registries.Close()
			settings.Warnings = append(settings.Warnings, lookup.Warnings(registries)...)
			return settings.Describe(c.App.Writer)
		},
	}
}
