package cli

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"image-cri-shim/agent/rollout"
	"image-cri-shim/version"
)

// agentName is the name of the command, also in the status.
const agentName = "agent"

func (p program) agentCommand() *cli.Command {
	return &cli.Command{
		Name:  agentName,
		Usage: "install, configure and watch the shim on this node",
		Description: `agent applies the configuration of a folder and the shim's version of its image, and then looks
at the node after each interval to mend changes by hand or by kubeadm. If the configuration
can't be applied at the start, agent exits with 1, and the reason is in the pod's status. The
node keeps its last good configuration.

With --live or --from-sealos-configmap, agent applies each change of an object of the cluster,
and stays after a failure, not ready. The files of --config that the object does not have are
used as well.

With --metrics, agent serves its metrics and those of the shim to Prometheus. After a failure at
the start, it waits for a minute before it exits, so that the metrics show the reason.`,
		Flags: []cli.Flag{
			hostFlag(), binaryFlag(), intervalFlag(),
			&cli.PathFlag{Name: "config", Usage: "`FOLDER` with image-cri-shim.yaml and the files that it names", Value: "/config"},
			&cli.StringFlag{Name: "live", Usage: "follow the `OBJECT` secret/NAME or configmap/NAME"},
			&cli.BoolFlag{Name: "from-sealos-configmap", Usage: "follow the ConfigMap of sealos, and merge it into the configuration"},
			&cli.StringFlag{Name: "namespace", Usage: "`NAMESPACE` of the object; default: the pod's, or kube-system with --from-sealos-configmap"},
			&cli.DurationFlag{Name: "jitter", Usage: "maximum `DURATION` of the random wait before the first restart of kubelet and before the doctor runs, of which a watched change waits a tenth; 0 for a single node", Value: time.Minute},
			&cli.StringFlag{Name: "registries", Usage: "refuse a configuration if registries can't be reached: was-reachable, all or off", Value: string(rollout.WasReachable)},
			&cli.StringFlag{Name: "metrics", Usage: "serve metrics at `ADDRESS`, IP:port; default: no metrics"},
		},
		Action: func(c *cli.Context) error {
			gate := rollout.Gate(c.String("registries"))
			if !slices.Contains(rollout.Gates, gate) {
				return usageError(c, "--registries: found %q, expected was-reachable, all or off", gate)
			}
			source, err := sourceOf(c)
			if err != nil {
				return err
			}
			address, err := metricsAddress(c)
			if err != nil {
				return err
			}
			reason := openTerminationLog()
			defer func() { _ = reason.Close() }()
			if err := p.runAgent(c, source, gate, address); err != nil {
				return errors.Join(err, writeReason(reason, err))
			}
			return nil
		},
	}
}

func (p program) runAgent(c *cli.Context, from source, gate rollout.Gate, metricsAddress string) error {
	log := newLog(c)
	binary, err := openBinary(c.Path("binary"))
	if err != nil {
		return err
	}
	defer func() { _ = binary.Close() }()
	metrics := serveMetrics(c.Context, metricsAddress, log)
	defer metrics.close()
	err = p.rollOut(c, from, gate, binary, log)
	if c.Context.Err() != nil {
		log.Info("ended by a signal, the node stays as it is")
		return nil
	}
	metrics.showFailure(c.Context, err)
	return err
}

// rollOut applies the source's configurations and watches the node until the context ends.
func (p program) rollOut(c *cli.Context, from source, gate rollout.Gate, binary *os.File, log logrus.FieldLogger) error {
	ctx, cancel := context.WithCancel(c.Context)
	defer cancel()
	watch, err := from.open(c.Path("config"), log)
	if err != nil {
		return err
	}
	defer watch.close()
	options := rollout.Options{
		Command: agentName, Version: version.Short(), Gate: gate,
		Jitter: c.Duration("jitter"), Interval: c.Duration("interval"),
		Live: from.isLive(), Source: watch.String(), Step: p.step, Log: log,
	}
	return onNode(ctx, c.Path("host"), binary, options, func(r *rollout.Rollout) error {
		desired, err := watch.start(ctx)
		if err != nil {
			return err
		}
		return r.Run(ctx, desired)
	})
}
