package main

import (
	"github.com/urfave/cli/v2"

	"image-cri-shim/config"
	"image-cri-shim/registry"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "validate the configuration and say what it means, without its secrets",
		Action: func(c *cli.Context) error {
			settings, err := config.Load(c.Path("file"))
			if err != nil {
				return err
			}
			registries, err := openRegistries(settings, registry.Options{})
			if err != nil {
				return err
			}
			registries.Close()
			return settings.Describe(c.App.Writer)
		},
	}
}
