package doctor

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// TextOptions are the options of [Report.WriteText].
type TextOptions struct {
	Width int  // maximum length of a line in characters; a word or a command may be longer
	Color bool // color the levels and print commands in bold
	Quiet bool // omit findings of level OK, and the numbers of findings
}

const (
	textIndent    = "      "     // below a level and its space
	hintIndent    = "          " // below "do: "
	subjectColumn = 40           // maximum width of the aligned column of subjects
)

// WriteText writes the report as text. Each finding is a line: level, check, subject and
// text, with the remedy below it. A longer text begins on a line of its own. The last two
// lines are the number of findings of each level, and the verdict.
func (r Report) WriteText(w io.Writer, options TextOptions) error {
	p := &painter{TextOptions: options}
	var counts [Fail + 1]int
	for _, f := range r.Findings {
		counts[f.Level]++
		if f.Level == OK && options.Quiet {
			continue
		}
		p.checkWidth = max(p.checkWidth, utf8.RuneCountInString(f.Check))
		if width := utf8.RuneCountInString(f.Subject); width <= subjectColumn {
			p.subjectWidth = max(p.subjectWidth, width)
		}
	}
	for _, f := range r.Findings {
		if f.Level > OK || !options.Quiet {
			p.finding(f)
		}
	}
	if !options.Quiet {
		p.print(fmt.Sprintf("%d OK, %d WARN, %d FAIL\n", counts[OK], counts[Warn], counts[Fail]))
	}
	p.print(p.paint(bold+levelColors[r.Level], strings.Join(wrap(r.Verdict, p.Width), "\n")) + "\n")
	_, err := io.WriteString(w, p.text.String())
	return err
}

// painter formats the text of a report.
type painter struct {
	TextOptions
	checkWidth, subjectWidth int
	text                     strings.Builder
}

func (p *painter) print(text string) { p.text.WriteString(text) }

func (p *painter) finding(f Finding) {
	level := fmt.Sprintf("%-4v", f.Level)
	line := fmt.Sprintf("  %-*s  %-*s", p.checkWidth, f.Check, p.subjectWidth, f.Subject)
	p.print(p.paint(levelColors[f.Level], level))
	if full := line + "  " + f.Text; utf8.RuneCountInString(level+full) <= p.Width {
		p.print(full + "\n")
	} else {
		p.print(strings.TrimRight(line, " ") + "\n")
		p.block(textIndent, textIndent, f.Text)
	}
	if f.Hint != "" {
		p.hint(f.Hint, f.Commands)
	}
}

// hint prints a remedy. Each command is on a line of its own, so that it can be copied.
func (p *painter) hint(text string, commands []string) {
	first := textIndent + "do: "
	for _, command := range commands {
		before, after, _ := strings.Cut(text, command)
		first = p.prose(first, before)
		if first != hintIndent {
			p.print(strings.TrimRight(first, " ") + "\n")
		}
		p.print(hintIndent + p.paint(bold, command) + "\n")
		first, text = hintIndent, after
	}
	p.prose(first, text)
}

// prose prints the part of a hint between two commands without the punctuation that separates
// it from these, unless nothing is left. It returns the beginning of the next line.
func (p *painter) prose(first, text string) string {
	if text = strings.TrimSpace(strings.TrimLeft(text, " ,;")); text == "" {
		return first
	}
	p.block(first, hintIndent, text)
	return hintIndent
}

// block prints a text that is wrapped after first, with indent before the further lines.
func (p *painter) block(first, indent, text string) {
	for _, line := range wrap(text, p.Width-len(first)) {
		p.print(first + line + "\n")
		first = indent
	}
}

// wrap splits a text at spaces into lines of at most width characters.
func wrap(text string, width int) (lines []string) {
	line := ""
	for word := range strings.SplitSeq(text, " ") {
		if line != "" && utf8.RuneCountInString(line+" "+word) > width {
			lines = append(lines, line)
			line = word
			continue
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// Escape sequences of ECMA-48 (Select Graphic Rendition).
const (
	bold  = "\x1b[1m"
	reset = "\x1b[0m"
)

var levelColors = [...]string{OK: "\x1b[32m", Warn: "\x1b[33m", Fail: "\x1b[31m"} // green, yellow, red

func (p *painter) paint(style, text string) string {
	if !p.Color {
		return text
	}
	return style + text + reset
}
