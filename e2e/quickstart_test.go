package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestPackageServiceQuickStart runs the commands of the README's quick start on a machine with
// a real systemd, in the folder of the packages, and requires the output that the README shows.
// "..." there stands for any text. The width of columns, times, digests and process IDs may
// differ.
func TestPackageServiceQuickStart(t *testing.T) {
	m := newMachine(t)
	defer m.checkLog(t)
	m.startKubelet(t)
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, session, _ := strings.Cut(string(readme), "```console\n")
	session, _, found := strings.Cut(session, "```\n")
	if !found {
		t.Fatal("the README has no console session")
	}
	const host, login = "hub:5000", privateUser + ":p4ssw0rd"
	actual := strings.NewReplacer(host, shared.private.Host(), login, privateUser+":"+privatePassword, "dist/", currentPackages+"/")
	vary := regexp.MustCompile(`process \d+|sha256:[0-9a-f]+|[0-9.]+m?s\b`) // with each run
	steps := regexp.MustCompile(`(?m)^# `).Split(session, -1)[1:]
	if len(steps) < 4 {
		t.Fatalf("the README has %d commands, want at least 4", len(steps))
	}
	for _, step := range steps {
		command, want, _ := strings.Cut(step, "\n")
		output, err := m.Run(testContext(t), "sh", "-c", actual.Replace(command))
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		output = strings.ReplaceAll(output, shared.private.Host(), host)
		comparable := func(text string) string { return strings.Join(strings.Fields(vary.ReplaceAllString(text, "*")), " ") }
		pattern := strings.ReplaceAll(regexp.QuoteMeta(comparable(want)), `\.\.\.`, ".*")
		if !regexp.MustCompile("^" + pattern + "$").MatchString(comparable(output)) {
			t.Errorf("%s printed\n%s\nwant\n%s", command, output, want)
		}
	}
}
