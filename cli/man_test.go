package cli_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestManualPage requires that man renders the page without warnings, and that the page has
// every command and flag of the help, with texts that contain asterisks.
func TestManualPage(t *testing.T) {
	if _, err := exec.LookPath("man"); err != nil {
		t.Skip("man is not installed")
	}
	page, stderr, code := run(t, "man")
	if code != 0 {
		t.Fatal(stderr)
	}
	command := exec.CommandContext(t.Context(), "man", "--warnings", "--encoding=UTF-8", "--local-file", "-")
	command.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "MANPAGER=cat", "MANWIDTH=200"}
	command.Stdin = strings.NewReader(page)
	var warnings strings.Builder
	command.Stderr = &warnings
	rendered, err := command.Output()
	if err != nil || warnings.Len() > 0 {
		t.Fatalf("man: %v\n%s", err, warnings.String())
	}
	text := regexp.MustCompile(`.\x08`).ReplaceAllString(string(rendered), "") // bold
	text = strings.Join(strings.Fields(text), " ")
	for _, want := range []string{"image-cri-shim(1)", "'*Image*'", `"/etc/kubernetes/*.yaml"`, " EXAMPLES ", " FILES "} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	for _, command := range commands {
		help, _, _ := run(t, "help "+command)
		if !strings.Contains(text, "image-cri-shim "+command+" [options]") {
			t.Errorf("the page lacks the command %s", command)
		}
		for _, flag := range regexp.MustCompile(`(?m)^   (?:-\w, )?(--[\w-]+)`).FindAllStringSubmatch(help, -1) {
			if flag[1] != "--help" && !strings.Contains(text, " "+flag[1]) {
				t.Errorf("the page lacks %s of %s", flag[1], command)
			}
		}
	}
}
