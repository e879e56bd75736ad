package doctor

import (
	"regexp"
	"strings"
)

// writeCommand returns a shell command in one line that replaces the content of a file.
func writeCommand(file string, lines ...string) string { return printCommand(">", file, lines) }

// appendCommand returns a shell command in one line that appends lines to a file.
func appendCommand(file string, lines ...string) string { return printCommand(">>", file, lines) }

func printCommand(redirection, file string, lines []string) string {
	command := `printf '%s\n'`
	for _, line := range lines {
		command += " " + shellQuoted(line)
	}
	return command + " " + redirection + " " + shellWord(file)
}

var plainWord = regexp.MustCompile(`^[\w./:@%+=,-]+$`)

// shellWord returns a text as a word of a shell command, quoted only if necessary.
func shellWord(text string) string {
	if plainWord.MatchString(text) {
		return text
	}
	return shellQuoted(text)
}

func shellQuoted(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
