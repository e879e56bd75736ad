package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"
	"k8s.io/client-go/kubernetes"

	"image-cri-shim/agent/cluster"
)

func hookFlags(more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "namespace", Usage: "`NAMESPACE` of the release"},
		&cli.StringFlag{Name: "daemonset", Usage: "`NAME` of the agent's DaemonSet"},
		&cli.DurationFlag{Name: "timeout", Usage: "fail after `DURATION`", Value: 10 * time.Minute},
	}, more...)
}

// onCluster connects to the apiserver, and calls work with a context that ends after --timeout.
func onCluster(c *cli.Context, work func(context.Context, kubernetes.Interface) error) error {
	for _, name := range []string{"namespace", "daemonset"} {
		if c.String(name) == "" {
			return usageError(c, "--%s is missing", name)
		}
	}
	client, err := cluster.Connect(cluster.ServiceAccount)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	return work(ctx, client)
}

func pruneCommand() *cli.Command {
	return &cli.Command{
		Name:  "prune",
		Usage: "delete the Secrets with configurations that no revision of the DaemonSet names",
		Flags: hookFlags(&cli.StringFlag{Name: "keep", Usage: "`NAME` of a Secret that is kept in any case"}),
		Action: func(c *cli.Context) error {
			return onCluster(c, func(ctx context.Context, client kubernetes.Interface) error {
				deleted, err := cluster.Prune(ctx, client, c.String("namespace"), c.String("daemonset"), c.String("keep"))
				for _, name := range deleted {
					fmt.Fprintln(c.App.Writer, "deleted Secret "+name)
				}
				return err
			})
		},
	}
}

func awaitRemovalCommand() *cli.Command {
	return &cli.Command{
		Name:  "await-removal",
		Usage: "wait until the shim is removed from every node",
		Flags: hookFlags(),
		Action: func(c *cli.Context) error {
			return onCluster(c, func(ctx context.Context, client kubernetes.Interface) error {
				return cluster.AwaitRemoval(ctx, client, c.String("namespace"), c.String("daemonset"), newLog(c))
			})
		},
	}
}
