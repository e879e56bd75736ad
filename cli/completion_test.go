package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// completers print the candidates for the words in the arguments, of which the last one is at
// the cursor. bash splits words at =, as it does on its command line.
var completers = map[string]string{
	"bash": `. ./script
COMP_WORDS=(image-cri-shim "$@") COMP_CWORD=$#
_image_cri_shim
printf '%s\n' "${COMPREPLY[@]}"`,
	// The functions of zsh's completion system run only in an interactive shell.
	"zsh": `compdef() { :; }
compset() { PREFIX=${PREFIX#*=}; }
_describe() { print -l -- "${(@)candidates%%:*}"; }
_files() { print -l -- $PREFIX*(N); }
. ./script
words=(image-cri-shim "$@") CURRENT=$(($# + 1)) PREFIX=${@[-1]}
_image_cri_shim`,
	"fish": `source ./script
complete -C (string join ' ' -- image-cri-shim $argv) | string replace -r '\t.*' ''; true`,
}

// TestCompletion completes commands, flags, values and files with each shell.
func TestCompletion(t *testing.T) {
	for shell, completer := range completers {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skip(shell, "is not installed")
			}
			folder := t.TempDir()
			script, stderr, code := run(t, "completion "+shell)
			if code != 0 {
				t.Fatal(stderr)
			}
			program := fmt.Sprintf("#!/bin/sh\nRUN_IMAGE_CRI_SHIM=yes exec %s \"$@\"\n", os.Args[0])
			for name, content := range map[string]string{"script": script, "completer": completer, "my.yaml": "", "image-cri-shim": program} {
				if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, c := range []struct {
				words []string
				want  string // all candidates; with ... at the end: some of them
			}{
				{[]string{""}, "check resolve doctor trace install uninstall migrate version completion help"},
				{[]string{"un"}, "uninstall"},
				{[]string{"--f"}, "--file"},
				{[]string{"--v"}, "--version"},
				{[]string{"resolve", "--"}, "--file --output --all-nodes-images --fresh --help ..."},
				{[]string{"resolve", "ng"}, ""},
				{[]string{"trace", ""}, "--method --write ..."},
				{[]string{"doctor", "--fail"}, "--fail-on"},
				{[]string{"doctor", "--fail-on", ""}, "warn fail"},
				{[]string{"-f", "x", "doctor", "-o", "j"}, "json"},
				{[]string{"completion", ""}, "bash zsh fish"},
				{[]string{"help", "tr"}, "trace"},
				{[]string{"check", "--file", "my"}, "my.yaml"},
				{[]string{"doctor", "--kubeadm-config", "my"}, "my.yaml"},
				{[]string{"migrate", "my"}, "my.yaml"},
				{[]string{"trace", "--for", ""}, ""},
				{[]string{"no-such-command", ""}, ""},
				{[]string{"doctor", "--output=j"}, "--output=json"},
				{[]string{"check", "--file=my"}, "--file=my.yaml"},
			} {
				words := c.words
				if before, value, isValue := strings.Cut(words[len(words)-1], "="); isValue && shell != "fish" {
					c.want = strings.TrimPrefix(c.want, before+"=") // the shell keeps the rest of the word
					if shell == "bash" {
						words = append(slices.Clip(words[:len(words)-1]), before, "=", value)
					} else if !strings.HasPrefix(c.want, "my") {
						c.want = before + "=" + c.want
					}
				}
				command := exec.CommandContext(t.Context(), shell, append([]string{"./completer"}, words...)...)
				command.Dir = folder
				command.Env = append(os.Environ(), "PATH="+folder+":"+os.Getenv("PATH"), "HOME="+folder)
				output, err := command.CombinedOutput()
				if err != nil {
					t.Errorf("%q: %v", c.words, err)
				}
				all, some := strings.CutSuffix(c.want, " ...")
				got, want := strings.Fields(string(output)), strings.Fields(all)
				if some {
					got = slices.DeleteFunc(got, func(word string) bool { return !slices.Contains(want, word) })
				}
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("%q: got %q, want %q\n%s", c.words, got, want, output)
				}
			}
		})
	}
}
