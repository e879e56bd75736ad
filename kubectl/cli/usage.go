package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"image-cri-shim/kubectl/fleet"
)

var formats = []string{"text", "wide", "json"}

// splitShortFlags separates the values of short flags, which kubectl accepts without a blank:
// -owide.
func splitShortFlags(arguments []string) (split []string) {
	for _, argument := range arguments {
		if len(argument) > 2 && argument[2] != '=' && (strings.HasPrefix(argument, "-o") || strings.HasPrefix(argument, "-n")) {
			split = append(split, argument[:2], argument[2:])
		} else {
			split = append(split, argument)
		}
	}
	return split
}

// checkArguments returns a usage error if a flag has a wrong value or follows an argument.
func checkArguments(c *cli.Context) error {
	if format := c.String("output"); !slices.Contains(formats, format) {
		return usageError("--output: found %q, expected text, wide or json", format)
	}
	if timeout := c.Duration("timeout"); timeout <= 0 {
		return usageError("--timeout: found %s, expected a positive duration such as 1m", timeout)
	}
	for _, name := range []string{"namespace", "context", "kubeconfig"} {
		if c.IsSet(name) && c.String(name) == "" {
			return usageError("flag --%s needs a value", name)
		}
	}
	for _, argument := range c.Args().Slice() {
		if strings.HasPrefix(argument, "-") {
			return usageError("found flag %q after the node %q, put flags before nodes", argument, c.Args().First())
		}
		if argument == "" {
			return usageError("found an empty argument, expected the name of a node")
		}
	}
	return nil
}

// usageError returns an error for wrong arguments.
func usageError(format string, values ...any) error {
	return cli.Exit(fmt.Sprintf(format, values...)+"\nhint: see kubectl image-cri-shim --help", exitUsage)
}

// flagError returns the usage error for an error of package flag, which has no types.
func flagError(_ *cli.Context, err error, _ bool) error {
	if name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); unknown {
		if len(name) > 1 {
			name = "-" + strings.TrimLeft(name, "-")
		}
		return usageError("unknown flag %q", "-"+name)
	}
	return usageError("%v", err)
}

// withHint adds a line to an error if there is an obvious next step. ctx limits all requests to
// --timeout; one of them may time out before.
func withHint(ctx context.Context, c *cli.Context, err error) error {
	hint := ""
	switch {
	case errors.Is(err, fleet.ErrNoAgents) && c.NArg() > 0:
		hint = "check the name with kubectl get nodes; a node that the chart's value waves leaves out has no agent"
	case errors.Is(err, fleet.ErrNoAgents) && c.IsSet("namespace"):
		hint = "is the chart installed in this namespace? Without -n, the agents of all namespaces are shown"
	case errors.Is(err, fleet.ErrNoAgents):
		hint = "is the chart installed? The value waves may leave out all nodes; kubectl get daemonsets -A shows it"
	case apierrors.IsForbidden(err):
		hint = "name the namespace of the agents with -n; the user needs the permission to list pods there"
	case apierrors.IsUnauthorized(err):
		hint = "log in again, or name another context with --context"
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		hint = fmt.Sprintf("the requests took longer than %s, set --timeout", c.Duration("timeout"))
	default:
		return err
	}
	return fmt.Errorf("%w\nhint: %s", err, hint)
}
