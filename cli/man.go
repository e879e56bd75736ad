package cli

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"
)

// manCommand returns the hidden command that prints the manual page of the packages.
func manCommand() *cli.Command {
	return &cli.Command{
		Name:   "man",
		Usage:  "print the manual page in roff",
		Hidden: true,
		Action: func(c *cli.Context) error {
			page, err := manualPage(c.App)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.App.Writer, page)
			return err
		},
	}
}

var (
	manHeading = regexp.MustCompile(`(?m)^[A-Z][A-Z ]+$`)
	manExample = regexp.MustCompile(`(?m)^ {3}`)
)

// manualPage returns the help of the program and its commands as a manual page.
func manualPage(app *cli.App) (string, error) {
	document := *app
	document.Version = "" // the same page for the same help
	document.Description = manHeading.ReplaceAllString(manExample.ReplaceAllString(app.Description, "    "), "# $0\n")
	document.Commands = nil
	for _, command := range app.VisibleCommands() {
		described := *command
		described.UsageText = strings.TrimSpace(fmt.Sprintf("%s %s [options] %s", app.Name, command.Name, command.ArgsUsage))
		if command.Description != "" {
			described.UsageText += "\n\n" + command.Description
		}
		described.Flags = nil
		for _, flag := range command.VisibleFlags() {
			described.Flags = append(described.Flags, manFlag{flag.(cli.DocGenerationFlag)})
		}
		document.Commands = append(document.Commands, &described)
	}
	return document.ToManWithSection(1)
}

// manFlag is a flag whose texts are Markdown, from which the page is generated.
type manFlag struct{ cli.DocGenerationFlag }

func (f manFlag) IsVisible() bool  { return true }
func (f manFlag) GetUsage() string { return escapeAsterisks(f.DocGenerationFlag.GetUsage()) }
func (f manFlag) GetDefaultText() string {
	return escapeAsterisks(f.DocGenerationFlag.GetDefaultText())
}

func escapeAsterisks(text string) string { return strings.ReplaceAll(text, "*", `\*`) }
