package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"

	"image-cri-shim/admin"
	"image-cri-shim/config"
)

// exitUsage is the exit code after a usage error, in every command: EX_USAGE of sysexits.h.
const exitUsage = 64

// usageError returns an error for wrong arguments of the command in c. Main prints it in two
// lines, of which the second one names the command's help, and exits with exitUsage.
func usageError(c *cli.Context, format string, values ...any) error {
	return usageErrorHint(c, "", fmt.Sprintf(format, values...))
}

// usageErrorHint is like usageError. The second line begins with hint, if it is not empty.
func usageErrorHint(c *cli.Context, hint, text string) error {
	help := c.App.Name + " --help"
	if c.Command.Name != c.App.Name {
		help = c.App.Name + " " + c.Command.Name + " --help"
		text = c.Command.Name + ": " + text
	}
	return withHelp(text, hint, help)
}

// withHelp returns a usage error whose second line has a hint, which may be empty, and a command
// that prints help.
func withHelp(text, hint, help string) error {
	if hint == "" {
		hint = "see " + help
	} else {
		hint += " (" + help + ")"
	}
	return cli.Exit(text+"\nhint: "+hint, exitUsage)
}

// didYouMean returns a hint that names the candidate most similar to word, or "" if none is
// similar.
func didYouMean(word string, candidates []string) string {
	nearest, best := "", 0.75
	for _, candidate := range candidates {
		if similarity := smetrics.JaroWinkler(strings.TrimLeft(word, "-"), strings.TrimLeft(candidate, "-"), 0.7, 4); similarity > best {
			nearest, best = candidate, similarity
		}
	}
	if nearest == "" {
		return ""
	}
	return "did you mean " + nearest + "?"
}

// reportErrors makes each command report usage errors with usageError, instead of printing its
// help as well, and other errors with a hint.
func reportErrors(commands []*cli.Command) {
	for _, command := range commands {
		action := command.Action
		command.Action = func(c *cli.Context) error { return withHint(c, action(c)) }
		command.OnUsageError = func(c *cli.Context, err error, _ bool) error { return flagError(c, err) }
		command.Before = checkArguments
		command.HideHelpCommand = true // resolve help: help is an image
		command.CustomHelpTemplate = cli.CommandHelpTemplate
	}
}

// checkArguments checks what is the same for all commands: there are no arguments if ArgsUsage
// is empty, no flags follow an argument, flags of a fixed set have one of its values, and flags
// for files are not empty.
func checkArguments(c *cli.Context) error {
	if err := checkFiles(c); err != nil {
		return err
	}
	for name, values := range flagValues {
		if value := c.String(name); c.IsSet(name) && !slices.Contains(values, value) {
			return usageErrorHint(c, didYouMean(value, values), fmt.Sprintf("--%s: found %q, expected %s", name, value, strings.Join(values, " or ")))
		}
	}
	for _, argument := range c.Args().Slice() {
		if len(argument) > 1 && argument[0] == '-' {
			return usageErrorHint(c, "put flags before the arguments", fmt.Sprintf("found flag %q after the argument %q", argument, c.Args().First()))
		}
	}
	if argument := c.Args().First(); argument != "" && c.Command.ArgsUsage == "" {
		hint := ""
		if slices.Contains(flagNames(c.Command.Flags), "--file") {
			hint = "name the configuration with --file"
		}
		return usageErrorHint(c, hint, fmt.Sprintf("unexpected argument %q", argument))
	}
	return nil
}

// checkFiles returns a usage error if a flag for a file is empty, such as --write "$UNSET".
func checkFiles(c *cli.Context) error {
	for _, flag := range slices.Concat(c.App.Flags, c.Command.Flags) {
		path, ok := flag.(*cli.PathFlag)
		if ok && path.TakesFile && slices.ContainsFunc(c.Lineage(), func(level *cli.Context) bool {
			return slices.Contains(level.LocalFlagNames(), path.Name) && level.Path(path.Name) == ""
		}) {
			return usageError(c, "flag %s needs a value", dashed(path.Name))
		}
	}
	return nil
}

// unknownCommand returns the usage error for the name of a command that does not exist.
func unknownCommand(c *cli.Context, name string) error {
	var names []string
	for _, command := range c.App.VisibleCommands() {
		names = append(names, command.Name)
	}
	return withHelp(fmt.Sprintf("unknown command %q", name), didYouMean(name, names), c.App.Name+" --help")
}

// The errors of package flag, which have no types.
var (
	flagUnknown = regexp.MustCompile(`(?s)^(?:flag provided but not defined: -|bad flag syntax: )(.*)$`)
	flagEmpty   = regexp.MustCompile(`^flag needs an argument: -(.*)$`)
	flagInvalid = regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-([^:]+): `)
)

// flagError returns the usage error for an error of package flag.
func flagError(c *cli.Context, err error) error {
	text := err.Error()
	if found := flagUnknown.FindStringSubmatch(text); found != nil {
		return usageErrorHint(c, didYouMean(found[1], flagNames(c.Command.Flags)), fmt.Sprintf("unknown flag %q", dashed(found[1])))
	}
	if found := flagEmpty.FindStringSubmatch(text); found != nil {
		return usageError(c, "flag %s needs a value", dashed(found[1]))
	}
	if found := flagInvalid.FindStringSubmatch(text); found != nil {
		expected, hint := expectedValue(c.Command.Flags, found[2], strings.Trim(found[1], `"`))
		return usageErrorHint(c, hint, fmt.Sprintf("%s: found %s, expected %s", dashed(found[2]), found[1], expected))
	}
	return usageError(c, "%s", text)
}

// expectedValue describes the values of a flag, with a hint for a value that is not one.
func expectedValue(flags []cli.Flag, name, value string) (expected, hint string) {
	for _, flag := range flags {
		if !slices.Contains(flag.Names(), name) {
			continue
		}
		switch flag.(type) {
		case *cli.DurationFlag:
			if _, err := time.ParseDuration(value + "s"); err == nil {
				hint = fmt.Sprintf("did you mean %ss?", value)
			}
			return "a duration such as 1s, 500ms or 2m", hint
		case *cli.IntFlag:
			return "a whole number", ""
		case *cli.BoolFlag:
			return "no value", fmt.Sprintf("did you mean %s?", dashed(name))
		}
	}
	return "another value", ""
}

// flagNames returns the names of flags with their dashes.
func flagNames(flags []cli.Flag) (names []string) {
	for _, flag := range flags {
		for _, name := range flag.Names() {
			names = append(names, dashed(name))
		}
	}
	return names
}

func dashed(name string) string {
	switch {
	case strings.HasPrefix(name, "-"):
		return name
	case len(name) == 1:
		return "-" + name
	}
	return "--" + name
}

// withHint adds a line to an error if there is an obvious next step.
func withHint(c *cli.Context, err error) error {
	if err == nil {
		return nil
	}
	if _, decided := errors.AsType[cli.ExitCoder](err); decided {
		return err // with its own hint
	}
	if problems, ok := errors.AsType[config.Problems](err); ok && len(problems) == 1 && problems[0].Hint != "" {
		hint := problems[0].Hint
		return &hinted{err, strings.TrimSuffix(err.Error(), "; "+hint) + "\nhint: " + hint}
	}
	_, isFile := errors.AsType[*fs.PathError](err)
	hint := ""
	switch {
	case isFile && errors.Is(err, fs.ErrExist):
		hint = "existing files are not overwritten: name another file, or remove this one"
	case errors.Is(err, admin.ErrNotRunning):
		hint = "start the shim: systemctl start image-cri-shim"
		if slices.Contains(flagNames(c.Command.Flags), "--read") {
			hint += ", or print a recording with --read FILE"
		}
	// The shim closes its admin socket's connections of other users.
	case os.Geteuid() != 0 && (errors.Is(err, fs.ErrPermission) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		hint = "run this command as root"
	default:
		return err
	}
	return fmt.Errorf("%w\nhint: %s", err, hint)
}

// hinted is an error with its hint on a line of its own.
type hinted struct {
	error
	text string
}

func (h *hinted) Error() string { return h.text }
func (h *hinted) Unwrap() error { return h.error }
