package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// The scripts get the completions from the program, with a hidden flag of urfave/cli.
const (
	bashCompletion = `_image_cri_shim() {
    local words=("${COMP_WORDS[@]:0:$COMP_CWORD}")
    mapfile -t COMPREPLY < <(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "${COMP_WORDS[$COMP_CWORD]}")
}
complete -o bashdefault -o default -F _image_cri_shim image-cri-shim
`
	zshCompletion = `#compdef image-cri-shim
_image_cri_shim() {
    local -a options
    options=("${(@f)$(${words[@]:0:#words[@]-1} --generate-bash-completion 2>/dev/null)}")
    if [[ -n "${options[1]}" ]]; then _describe 'command' options; else _files; fi
}
compdef _image_cri_shim image-cri-shim
`
)

// flagValues are the values of the flags that have a fixed set of them.
var flagValues = map[string][]string{
	"output":  {"text", "json"},
	"fail-on": {"warn", "fail"},
}

var shells = []string{"bash", "zsh", "fish"}

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a completion script for bash, zsh or fish",
		ArgsUsage: "bash|zsh|fish",
		Description: `In bash: source <(image-cri-shim completion bash)
In fish: image-cri-shim completion fish | source`,
		BashComplete: func(c *cli.Context) { _, _ = fmt.Fprint(c.App.Writer, "bash\nzsh\nfish\n") },
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return usageError(c, "unexpected argument %q, expected one shell", c.Args().Get(1))
			}
			script := ""
			switch shell := c.Args().First(); shell {
			case "bash":
				script = bashCompletion
			case "zsh":
				script = zshCompletion
			case "fish":
				var err error
				if script, err = c.App.ToFishCompletion(); err != nil {
					return err
				}
			default:
				return usageErrorHint(c, didYouMean(shell, shells), fmt.Sprintf("found shell %q, expected bash, zsh or fish", shell))
			}
			_, err := fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}
