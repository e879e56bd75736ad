package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// flagValues are the values of the flags that have a fixed set of them.
var flagValues = map[string][]string{
	"output":  {"text", "json"},
	"fail-on": {"warn", "fail"},
}

// shells are the shells that have a completion script.
var shells = []string{"bash", "zsh", "fish"}

// completions are the scripts of the shells. They pass all words of the command line up to the
// cursor to the program, which prints one candidate per line, with a description after a tab.
// The line filesLine stands for file names.
var completions = map[string]string{
	"bash": `_image_cri_shim() {
    local candidates current=${COMP_WORDS[COMP_CWORD]#=}
    mapfile -t candidates < <("${COMP_WORDS[@]:0:COMP_CWORD+1}" ` + completeFlag + ` 2>/dev/null)
    if [[ ${candidates[0]} == ` + filesLine + ` ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    else
        COMPREPLY=("${candidates[@]%%$'\t'*}")
    fi
}
complete -F _image_cri_shim image-cri-shim
`,
	"zsh": `#compdef image-cri-shim
_image_cri_shim() {
    local -a candidates
    candidates=("${(@f)$("${(@)words[1,CURRENT-1]}" "$PREFIX" ` + completeFlag + ` 2>/dev/null)}")
    if [[ ${candidates[1]} == ` + filesLine + ` ]]; then
        [[ $PREFIX == -*=* ]] && compset -P '*='
        _files
    elif [[ -n ${candidates[1]} ]]; then
        candidates=("${(@)candidates/$'\t'/:}")
        _describe image-cri-shim candidates
    fi
}
if [[ $funcstack[1] == _image-cri-shim ]]; then _image_cri_shim; else compdef _image_cri_shim image-cri-shim; fi
`,
	"fish": `function __image_cri_shim
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l candidates ($words "$current" ` + completeFlag + ` 2>/dev/null)
    if test "$candidates[1]" != ` + filesLine + `
        printf '%s\n' $candidates
    else if string match -q -- '-*=*' $current
        set -l halves (string split -m 1 = -- $current)
        printf "$halves[1]=%s\n" (__fish_complete_path "$halves[2]")
    else
        __fish_complete_path "$current"
    end
end
complete -c image-cri-shim -f -a '(__image_cri_shim)'
`,
}

const (
	completeFlag = "--generate-bash-completion"
	filesLine    = ":files"
)

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a completion script for bash, zsh or fish",
		ArgsUsage: "bash|zsh|fish",
		Description: `The packages install the scripts. Otherwise, for the current shell:

   bash: source <(image-cri-shim completion bash)
   zsh:  source <(image-cri-shim completion zsh), after compinit
   fish: image-cri-shim completion fish | source`,
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return usageError(c, "unexpected argument %q, expected one shell", c.Args().Get(1))
			}
			script, known := completions[c.Args().First()]
			if !known {
				shell := c.Args().First()
				return usageErrorHint(c, didYouMean(shell, shells), fmt.Sprintf("found shell %q, expected bash, zsh or fish", shell))
			}
			_, err := fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}

// complete prints the candidates for the last of the words, which follow the program's name.
func complete(w io.Writer, app *cli.App, words []string) {
	if len(words) == 0 {
		return
	}
	before, current := words[:len(words)-1], words[len(words)-1]
	if current == "=" { // bash makes a word of the = in --output=json
		before, current = words, ""
	}
	before = slices.DeleteFunc(slices.Clone(before), func(word string) bool { return word == "=" })

	var command *cli.Command
	flags := append(slices.Clip(app.Flags), cli.VersionFlag)
	for i := 0; i < len(before); i++ {
		if flag := valueFlag(flags, before[i]); flag != nil {
			if i++; i == len(before) {
				completeValue(w, flag, "", current)
				return
			}
		} else if command == nil && !strings.HasPrefix(before[i], "-") {
			if command = app.Command(before[i]); command == nil {
				return
			}
			flags = append(slices.Clip(command.Flags), cli.HelpFlag)
		}
	}
	name, value, isValue := strings.Cut(current, "=")
	switch flag := valueFlag(flags, name); {
	case isValue && flag != nil:
		completeValue(w, flag, name+"=", value)
	case strings.HasPrefix(current, "-"):
		completeFlags(w, flags, current)
	case command == nil || command.Name == "help":
		for _, c := range app.VisibleCommands() {
			candidate(w, c.Name, current, c.Usage)
		}
	case command.Name == "completion":
		for _, shell := range shells {
			candidate(w, shell, current, "")
		}
	case command.Name == "migrate":
		_, _ = fmt.Fprintln(w, filesLine)
	case command.ArgsUsage == "":
		completeFlags(w, flags, current)
	}
}

// valueFlag returns the flag that a word names, if the flag takes a value.
func valueFlag(flags []cli.Flag, word string) cli.DocGenerationFlag {
	for _, f := range flags {
		if flag, ok := f.(cli.DocGenerationFlag); ok && flag.TakesValue() && slices.Contains(flagNames([]cli.Flag{f}), word) {
			return flag
		}
	}
	return nil
}

// completeValue prints the candidates for the value of a flag, each after the text before.
func completeValue(w io.Writer, flag cli.DocGenerationFlag, before, current string) {
	for _, value := range flagValues[flag.Names()[0]] {
		candidate(w, before+value, before+current, "")
	}
	slice, isSlice := flag.(*cli.StringSliceFlag)
	if _, isPath := flag.(*cli.PathFlag); isPath || isSlice && slice.TakesFile {
		_, _ = fmt.Fprintln(w, filesLine)
	}
}

func completeFlags(w io.Writer, flags []cli.Flag, current string) {
	for _, flag := range flags {
		usage := ""
		if documented, ok := flag.(cli.DocGenerationFlag); ok {
			usage = strings.ReplaceAll(documented.GetUsage(), "`", "")
		}
		for _, name := range flagNames([]cli.Flag{flag}) {
			if len(name) > 2 { // a short name needs no completion
				candidate(w, name, current, usage)
			}
		}
	}
}

// candidate prints a candidate if it begins with the current word.
func candidate(w io.Writer, text, current, description string) {
	if strings.HasPrefix(text, current) {
		_, _ = fmt.Fprintln(w, strings.TrimSuffix(text+"\t"+description, "\t"))
	}
}
