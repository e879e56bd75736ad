package cli

import (
	"errors"

	"github.com/urfave/cli/v2"

	"image-cri-shim/agent/rollout"
	"image-cri-shim/version"
)

func (p program) removeCommand() *cli.Command {
	return &cli.Command{
		Name:  "remove",
		Usage: "point kubelet at the runtime, and remove the shim from this node",
		Description: `remove points kubelet and crictl back, waits until kubelet is healthy on the runtime, and then
deletes the shim and the agent's state. It continues a removal that was interrupted. After a
failure, it tries again after the interval. Then it waits, so that its pod stays ready.`,
		Flags: []cli.Flag{
			hostFlag(), binaryFlag(), intervalFlag(),
			&cli.BoolFlag{Name: "once", Usage: "end after the removal, or with 1 after a failure"},
		},
		Action: func(c *cli.Context) error {
			reason := openTerminationLog()
			defer func() { _ = reason.Close() }()
			log := newLog(c)
			binary, err := openBinary(c.Path("binary"))
			if err == nil {
				defer func() { _ = binary.Close() }()
				options := rollout.Options{Command: "remove", Version: version.Short(), Interval: c.Duration("interval"), Step: p.step, Log: log}
				err = onNode(c.Context, c.Path("host"), binary, options, func(r *rollout.Rollout) error {
					return r.RunRemove(c.Context, c.Bool("once"))
				})
			}
			if c.Context.Err() != nil {
				log.Info("ended by a signal, the node stays as it is")
				return nil
			}
			if err != nil {
				return errors.Join(err, writeReason(reason, err))
			}
			return nil
		},
	}
}
