package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

const (
	exitUsage       = 64 // EX_USAGE of sysexits.h, as the shim's own commands
	defaultInterval = 45 * time.Second
)

// usageError returns an error for wrong arguments of the command in c, with a hint that names
// its help.
func usageError(c *cli.Context, format string, values ...any) error {
	text, help := fmt.Sprintf(format, values...), c.App.Name+" --help"
	if command, ok := strings.CutPrefix(c.Command.HelpName, c.App.Name+" "); ok {
		text, help = command+": "+text, c.Command.HelpName+" --help"
	}
	return cli.Exit(text+"\nhint: see "+help, exitUsage)
}

// reportErrors makes each command refuse arguments that are no flags, and report wrong flags
// with usageError instead of printing its help as well.
func reportErrors(commands []*cli.Command) {
	for _, command := range commands {
		command.OnUsageError = flagError
		command.HideHelpCommand = true
		if len(command.Subcommands) > 0 {
			reportErrors(command.Subcommands)
			continue
		}
		action := command.Action
		command.Action = func(c *cli.Context) error {
			if c.Args().Present() {
				return usageError(c, "unexpected argument %q", c.Args().First())
			}
			for _, flag := range command.Flags {
				duration, ok := flag.(*cli.DurationFlag)
				if ok && (c.Duration(duration.Name) < 0 || c.Duration(duration.Name) == 0 && duration.Name != "jitter") {
					return usageError(c, "--%s: found %s, expected a positive duration such as 45s", duration.Name, c.Duration(duration.Name))
				}
			}
			return action(c)
		}
	}
}

// flagError returns the usage error for an error of package flag, which has no types.
func flagError(c *cli.Context, err error, _ bool) error {
	if name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); unknown {
		return usageError(c, "unknown flag %q", "--"+strings.TrimLeft(name, "-"))
	}
	return usageError(c, "%v", err)
}

// missingCommand is the action without a command, or with one that does not exist.
func missingCommand(c *cli.Context) error {
	if c.Args().Present() {
		return usageError(c, "unknown command %q", c.Args().First())
	}
	return usageError(c, "name a command")
}
