package cli

import (
	"github.com/urfave/cli/v2"

	"image-cri-shim/trace"
)

// traceFlags returns the flags that select events.
func traceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "method", Usage: "only calls of `METHOD`: PullImage, '*Image*', v1alpha2.Version"},
		&cli.StringSliceFlag{Name: "not-method", Usage: "no calls of `METHOD`, in the same forms"},
		&cli.StringSliceFlag{Name: "client", Usage: "only calls of `CLIENT`: a program (kubelet, 'cri*'), a process ID, or a user ID (uid:0)"},
		&cli.StringSliceFlag{Name: "namespace", Usage: "only calls for pods in `NAMESPACE`: default, 'kube-*'"},
		&cli.StringSliceFlag{Name: "pod", Usage: "only calls for `POD`: web-0, default/web-0, 'kube-system/*'"},
		&cli.StringSliceFlag{Name: "image", Usage: "only calls for images with `TEXT` in the name that was asked for or served"},
		&cli.BoolFlag{Name: "errors", Usage: "only calls that failed"},
		&cli.DurationFlag{Name: "slower-than", Usage: "only calls that took longer than `DURATION`"},
		&cli.DurationFlag{Name: "since", Usage: "first the calls that ended in the last `DURATION`, if traceBuffer is set"},
		&cli.BoolFlag{Name: "no-follow", Usage: "with --since: end after these calls"},
	}
}

// readTraceQuery returns the query that the flags set, or a usage error.
func readTraceQuery(c *cli.Context) (trace.Query, error) {
	query := trace.Query{
		Filter: trace.Filter{
			Methods: c.StringSlice("method"), NotMethods: c.StringSlice("not-method"), Clients: c.StringSlice("client"),
			Namespaces: c.StringSlice("namespace"), Pods: c.StringSlice("pod"), Images: c.StringSlice("image"),
			Errors: c.Bool("errors"), Slower: c.Duration("slower-than"),
		},
		Bodies: c.Bool("body"), Since: c.Duration("since"), NoFollow: c.Bool("no-follow"),
	}
	for _, flag := range []string{"slower-than", "since", "for"} {
		if c.IsSet(flag) && c.Duration(flag) <= 0 {
			return query, usageError(c, "--%s: found %s, expected a positive duration such as 30s or 5m", flag, c.Duration(flag))
		}
	}
	switch {
	case c.Int("count") < 0:
		return query, usageError(c, "--count: found %d, expected a positive number", c.Int("count"))
	case c.IsSet("read") && c.IsSet("for"):
		return query, usageError(c, "found --for with --read: --for limits a running trace only")
	case c.IsSet("read") && c.IsSet("since"):
		return query, usageError(c, "found --since with --read: --since shows calls that the running shim keeps")
	case c.IsSet("read") && query.NoFollow:
		return query, usageError(c, "found --no-follow with --read: a recording has an end")
	case query.NoFollow && query.Since == 0:
		return query, usageErrorHint(c, "add --since 5m", "found --no-follow without --since")
	}
	if err := query.Check(); err != nil {
		return query, usageError(c, "%v", err)
	}
	return query, nil
}
