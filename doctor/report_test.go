package doctor

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the golden files")

// goldenReport is the report of a node with several problems.
func goldenReport() Report {
	registry := "http://sealos.hub:5000"
	return newReport([]Finding{
		topic{"configuration", "/etc/image-cri-shim.yaml"}.ok("valid, registries: 1"),
		topic{"runtime", "/run/containerd/containerd.sock"}.ok("containerd 1.7.35, CRI v1 and v1alpha2"),
		topic{"running shim", "/var/lib/image-cri-shim/admin.sock"}.warn(restartHint, "the shim runs with the former values of these keys until it is restarted: %s", "engine, names"),
		topic{"kubelet", "/var/lib/kubelet/config.yaml"}.fail("`image-cri-shim install`, then `systemctl restart kubelet`", "kubelet's endpoint is %q, not the shim's", "unix:///run/containerd/containerd.sock"),
		topic{"crictl", "/etc/crictl.yaml"}.warn("write the file: `"+writeCommand("/etc/crictl.yaml", "runtime-endpoint: unix:///var/run/image-cri-shim.sock", "image-endpoint: unix:///var/run/image-cri-shim.sock")+"`", "crictl has no configuration file: it tries the runtimes' own sockets, and its pulls bypass the shim"),
		topic{"sandbox image", "registry.k8s.io/pause:3.9"}.ok("on the node, pinned"),
		topic{"connection", registry}.fail("start the registry, or correct the port or the firewall", "dial tcp 10.0.0.7:5000: connect: connection refused"),
		topic{"state", "/var/lib/image-cri-shim"}.ok("writable, 2048 MiB free"),
	})
}

// TestReportText compares the text with golden files; -update writes them. No line is longer
// than the width, except for a command, which stays on one line.
func TestReportText(t *testing.T) {
	for name, options := range map[string]TextOptions{
		"100": {Width: 100}, "80": {Width: 80}, "color": {Width: 100, Color: true}, "quiet": {Width: 100, Quiet: true},
	} {
		t.Run(name, func(t *testing.T) {
			report := goldenReport()
			var text strings.Builder
			if err := report.WriteText(&text, options); err != nil {
				t.Fatal(err)
			}
			wantGolden(t, name+".txt", text.String())
			var commands []string
			for _, f := range report.Findings {
				commands = append(commands, f.Commands...)
			}
			for line := range strings.Lines(text.String()) {
				line = strings.TrimSuffix(line, "\n")
				isCommand := false
				for _, command := range commands {
					isCommand = isCommand || strings.TrimSpace(line) == command
				}
				if !options.Color && !isCommand && utf8.RuneCountInString(line) > options.Width {
					t.Errorf("the line is longer than %d: %s", options.Width, line)
				}
			}
			plain := strings.NewReplacer(bold, "", reset, "").Replace(text.String())
			for _, command := range commands {
				if !strings.Contains(plain, "\n"+hintIndent+command+"\n") {
					t.Errorf("no line is the command %s", command)
				}
			}
		})
	}
}

func TestReportJSON(t *testing.T) {
	for name, quiet := range map[string]bool{"all.json": false, "quiet.json": true} {
		var text strings.Builder
		if err := goldenReport().WriteJSON(&text, quiet); err != nil {
			t.Fatal(err)
		}
		wantGolden(t, name, text.String())
	}
}

// TestDocumentedReport requires that docs/doctor.md shows the report as it is printed.
func TestDocumentedReport(t *testing.T) {
	document, err := os.ReadFile("../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := goldenReport().WriteText(&text, TextOptions{Width: 100}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(document), "```\n"+text.String()+"```\n") {
		t.Errorf("docs/doctor.md does not have:\n%s", text.String())
	}
}

func wantGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "report", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// TestHostileReport requires that text from outside can't forge lines, and is bounded.
func TestHostileReport(t *testing.T) {
	r := newReport([]Finding{
		topic{"runtime", "/run/x.sock"}.ok("fine"),
		topic{"shim", "/s\nFAIL forged"}.warn("do\tthis `odd", "%s", "two\nlines\x1b[2J"),
		topic{"runtime", "/run/x.sock"}.fail("that", "bad %s", strings.Repeat("x", 2000)),
	})
	var text strings.Builder
	if err := r.WriteText(&text, TextOptions{Width: 100}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text.String(), "\n")
	if len(lines) != 10 || lines[0] != "FAIL  runtime  /run/x.sock" || len(lines[2]) > 1100 || lines[4] != "WARN  shim     /s FAIL forged  two lines [2J" ||
		lines[5] != "      do: do this odd" || lines[6] != "OK    runtime  /run/x.sock     fine" || lines[7] != "1 OK, 1 WARN, 1 FAIL" {
		t.Errorf("%q", lines)
	}
}

// TestVerdict requires the consequence for the node, with the gravest first.
func TestVerdict(t *testing.T) {
	fail := func(check, subject string) Finding { return topic{check, subject}.fail("do", "text") }
	ok, warn := topic{"shim", "/s"}.ok("fine"), topic{"crictl", "/c"}.warn("do", "text")
	for _, test := range []struct {
		findings []Finding
		want     string
	}{
		{nil, "no problem found on this node; for one image: image-cri-shim resolve IMAGE"},
		{[]Finding{ok}, "no problem found on this node; for one image: image-cri-shim resolve IMAGE"},
		{[]Finding{ok, warn}, "this node works, with one warning"},
		{[]Finding{ok, warn, warn}, "this node works, with 2 warnings"},
		{[]Finding{fail("connection", "http://hub:5000"), fail("clock", "http://hub:5000"), fail("kubelet", "/k"), fail("runtime", "/r")},
			"pulls fail: the runtime does not answer; kubelet pulls without the shim; pulls from http://hub:5000 fail"},
		{[]Finding{fail("configuration", "/f"), topic{"running shim", "/a"}.ok("fine")},
			"pulls go on with the last good configuration, but the shim can't start again with this file"},
		{[]Finding{topic{"running shim", "/a"}.fail("do", refusedText+": line 3"), fail("connection", "http://hub:5000")},
			"pulls go on with the last good configuration, but the shim can't start again with this file; pulls from http://hub:5000 fail"},
		{[]Finding{fail("shim", "/s"), fail("runtime", "/r")}, "pulls fail: the runtime does not answer; the shim does not answer"},
		{[]Finding{fail("shim", "/s"), fail("kubelet", "/k")}, "the shim does not answer; kubelet pulls without the shim"},
		{[]Finding{{Check: "shim", Level: Fail, consequence: "pulls fail: the shim restarts again and again"}, fail("kubelet", "/k")}, "the shim restarts again and again; kubelet pulls without the shim"},
		{[]Finding{fail("TLS", "https://a"), fail("login", "https://b"), fail("clock", "https://b")}, "pulls from https://a, https://b fail"},
		{[]Finding{fail("sandbox image", "pause"), {Check: "original", Level: Fail, consequence: "new pulls fail: no registry has the images, and docker.io can't be reached"}},
			"new pulls fail: no registry has the images, and docker.io can't be reached; new pods do not start: the runtime can't get the sandbox image"},
		{[]Finding{fail("new check", "/x")}, "other failures: 1"},
	} {
		if got := newReport(test.findings).Verdict; got != test.want {
			t.Errorf("%+v:\n%q, want\n%q", test.findings, got, test.want)
		}
	}
}
