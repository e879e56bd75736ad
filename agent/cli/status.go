package cli

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"image-cri-shim/agent/status"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:        "status",
		Usage:       "print the state of the shim and the agent on this node",
		Description: `status prints the agent's status file, and exits with 1 if the agent is not ready.`,
		Flags: []cli.Flag{
			hostFlag(),
			&cli.BoolFlag{Name: "ready", Usage: "print only the reason why this pod's agent is not ready, for the readiness probe"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print the status as `FORMAT`, text or json", Value: "text"},
		},
		Action: func(c *cli.Context) error {
			format := c.String("output")
			if format != "text" && format != "json" {
				return usageError(c, "--output: found %q, expected text or json", format)
			}
			s, err := status.Read(filepath.Join(c.Path("host"), status.File))
			if err != nil {
				return err
			}
			now := time.Now()
			if c.Bool("ready") {
				if err := s.CheckWriter(); err != nil {
					return err
				}
				return s.CheckReady(now)
			}
			if format == "json" {
				encoder := json.NewEncoder(c.App.Writer)
				encoder.SetIndent("", "  ")
				err = encoder.Encode(s.At(now))
			} else {
				err = s.WriteText(c.App.Writer, now)
			}
			if err != nil {
				return fmt.Errorf("print the status: %w", err)
			}
			if s.CheckReady(now) != nil {
				return cli.Exit("", 1)
			}
			return nil
		},
	}
}
