package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"image-cri-shim/agent/cluster"
)

func hookFlags(more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "namespace", Usage: "`NAMESPACE` of the release", Required: true},
		&cli.StringFlag{Name: "daemonset", Usage: "`NAME` of the agent's DaemonSet", Required: true},
		&cli.DurationFlag{Name: "timeout", Usage: "fail after `DURATION`", Value: 10 * time.Minute},
	}, more...)
}

func pruneCommand() *cli.Command {
	return &cli.Command{
		Name:  "prune",
		Usage: "delete the Secrets with configurations that no revision of the DaemonSet names",
		Flags: hookFlags(&cli.StringFlag{Name: "keep", Usage: "`NAME` of a Secret that is kept in any case"}),
		Action: func(c *cli.Context) error {
			client, err := cluster.Connect(cluster.ServiceAccount)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
			defer cancel()
			deleted, err := cluster.Prune(ctx, client, c.String("namespace"), c.String("daemonset"), c.String("keep"))
			for _, name := range deleted {
				fmt.Fprintln(c.App.Writer, "deleted Secret "+name)
			}
			return err
		},
	}
}

func awaitRemovalCommand() *cli.Command {
	return &cli.Command{
		Name:  "await-removal",
		Usage: "wait until the shim is removed from every node",
		Flags: hookFlags(),
		Action: func(c *cli.Context) error {
			client, err := cluster.Connect(cluster.ServiceAccount)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
			defer cancel()
			return cluster.AwaitRemoval(ctx, client, c.String("namespace"), c.String("daemonset"), newLog(c))
		},
	}
}
