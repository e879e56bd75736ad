package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// agentMachine is a machine with the tests of agent/service, which work on it as the agent of a
// cluster does.
type agentMachine struct{ machine }

// The folders of the machine: the tests of agent/service and two versions of the shim, and the
// keys of the agent's Secret.
const agentFolder, agentFiles = "/mnt/agent", "/mnt/files"

const firstRelease, secondRelease = "v1.0.0", "v1.1.0"

// agentBinaries builds the tests of agent/service and two versions of the shim.
var agentBinaries = sync.OnceValues(func() (folder string, err error) {
	folder = filepath.Join(shared.folder, "agent")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	for name, arguments := range map[string][]string{
		"service":     {"../agent", "test", "-c", "./service"},
		firstRelease:  {"..", "build", "-ldflags", "-X image-cri-shim/version.Version=" + firstRelease, "."},
		secondRelease: {"..", "build", "-ldflags", "-X image-cri-shim/version.Version=" + secondRelease, "."},
	} {
		command := append([]string{arguments[1], "-trimpath", "-o", filepath.Join(folder, name)}, arguments[2:]...)
		build := exec.CommandContext(ctx, "go", command...)
		build.Dir = arguments[0]
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w: %s", name, err, output)
		}
	}
	return folder, nil
})

func newAgentMachine(t *testing.T) agentMachine {
	t.Helper()
	needMachine(t)
	folder, err := agentBinaries()
	if err != nil {
		t.Fatal(err)
	}
	return agentMachine{bootMachine(t, map[string]string{agentFolder: folder, agentFiles: t.TempDir()})}
}

// run runs a step of the agent with a version of the shim.
func (m agentMachine) run(t *testing.T, step, release string, prefix ...string) (output string, err error) {
	t.Helper()
	output, err = m.Run(testContext(t), append(prefix, agentFolder+"/service", "-test.run=^TestStepOnMachine$",
		"-step", step, "-release", release, "-binary", agentFolder+"/"+release, "-files", agentFiles)...)
	wantNoSecret(t, "output of "+step, []byte(output))
	return output, err
}

// install installs a version and requires that no difference remains. It returns whether the
// shim was restarted.
func (m agentMachine) install(t *testing.T, release string, files map[string]string) (restarted bool) {
	t.Helper()
	m.provide(t, files)
	output, err := m.run(t, "install", release)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(output, "registry: "+shared.private.Address()+" true <nil>") {
		t.Errorf("the registry is not reported as reachable:\n%s", output)
	}
	m.wantDrift(t, release, "")
	running := m.must(t, "readlink", "/proc/"+m.shows(t, "MainPID")+"/exe")
	if want := "/opt/image-cri-shim/" + release + "/image-cri-shim"; running != want {
		t.Errorf("%s serves, want %s", running, want)
	}
	return strings.Contains(output, "restarted: true")
}

// provide writes the keys of the Secret.
func (m agentMachine) provide(t *testing.T, files map[string]string) {
	t.Helper()
	m.must(t, "find", agentFiles, "-type", "f", "-delete")
	for name, content := range files {
		if err := os.WriteFile(m.Path(filepath.Join(agentFiles, name)), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// wantDrift requires a difference that contains a text, or none if the text is empty.
func (m agentMachine) wantDrift(t *testing.T, release, want string) {
	t.Helper()
	output, err := m.run(t, "drift", release)
	if err != nil || strings.Contains(output, "drift:") != (want != "") || !strings.Contains(output, want) {
		t.Errorf("differences: %v\n%s\nwant %q", err, output, want)
	}
}

// inventory lists all files that an installation may change.
func (m agentMachine) inventory(t *testing.T) string {
	t.Helper()
	return m.must(t, "sh", "-c", `cd / && find etc opt usr/bin var/lib/image-cri-shim* -printf '%p %M %U:%G %l\n' 2>/dev/null | sort; find etc -type f -exec sha256sum {} + | sort; ls -d run/image-cri-shim*.sock 2>/dev/null; true`)
}

// wantUnchanged requires that the inventory is as before.
func (m agentMachine) wantUnchanged(t *testing.T, before string) {
	t.Helper()
	after := m.inventory(t)
	for sign, texts := range map[string][2]string{"missing": {before, after}, "new": {after, before}} {
		for line := range strings.Lines(texts[0]) {
			if !strings.Contains(texts[1], strings.TrimSpace(line)) {
				t.Errorf("%s: %s", sign, line)
			}
		}
	}
}

// TestAgentServiceUnderLoad installs the shim as the agent of a cluster does, changes its
// version and configuration while clients use it, and removes it. No call may fail, and the
// removal leaves the machine's files as they were.
func TestAgentServiceUnderLoad(t *testing.T) {
	m := newAgentMachine(t)
	defer m.checkLog(t)
	const original = "address: http://original\n"
	if err := os.WriteFile(m.Path("/etc/image-cri-shim.yaml"), []byte(original), 0o640); err != nil {
		t.Fatal(err)
	}
	m.must(t, "mount", "--bind", "/usr", "/usr")
	m.must(t, "mount", "-o", "remount,bind,ro", "/usr") // as on systems with an image
	before := m.inventory(t)
	files := map[string]string{"image-cri-shim.yaml": privateConfiguration() + "authFile: /etc/image-cri-shim/auth.json\n", "auth.json": "{}"}
	m.install(t, firstRelease, files)
	all, stop := m.startLoad(t, func(err error) { t.Errorf("call failed: %v", err) })
	process := m.shows(t, "MainPID")
	for _, change := range []struct {
		name, release, more string
		restarts            bool
	}{
		{"the same", firstRelease, "", false},
		{"another version", secondRelease, "", true},
		{"a key that is reloaded", secondRelease, "fallback: never\n", false},
		{"a key that needs a restart", secondRelease, "names: ledger\n", true},
		{"another state directory, and the version before", firstRelease, "image: /opt/state\n", true},
		{"another path of the socket", firstRelease, "shim: /run/elsewhere/shim.sock\n", true},
		{"the path before", firstRelease, "", true},
	} {
		awaitAnswers(t, all)
		files["image-cri-shim.yaml"] = privateConfiguration() + change.more
		restarted := m.install(t, change.release, files)
		next := m.shows(t, "MainPID")
		if restarted != change.restarts || (next != process) != change.restarts {
			t.Errorf("%s: restarted %t, process %s is now %s; want a restart: %t", change.name, restarted, process, next, change.restarts)
		}
		process = next
		// The installation probes the new path. Clients of the former one go on.
		if target, err := m.Run(testContext(t), "readlink", "/run/elsewhere/shim.sock"); strings.Contains(change.more, "/run/elsewhere") && target != "../image-cri-shim.sock" {
			t.Errorf("the new path leads to %q, %v; want the former one", target, err)
		}
	}
	if output, err := m.run(t, "reexec", firstRelease); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	m.killAgent(t, files)
	awaitEachKind(t, all)
	stop()
	answered, failed := totals(all)
	t.Logf("%d calls answered, %d failed", answered, failed)

	for damage, want := range map[string]string{
		"rm /run/image-cri-shim.sock":                                          "/run/image-cri-shim.sock is missing",
		"rm /etc/systemd/system/image-cri-shim.socket":                         "image-cri-shim.socket is missing",
		"systemctl disable image-cri-shim.service":                             "image-cri-shim.service is not enabled",
		"systemctl stop image-cri-shim.socket image-cri-shim.service":          "image-cri-shim.service is inactive",
		"rm /opt/image-cri-shim/current":                                       "/opt/image-cri-shim/current does not lead to",
		"echo more >>/etc/image-cri-shim.yaml":                                 "/etc/image-cri-shim.yaml was changed",
		"sed -i s/LimitNOFILE=.*// /etc/systemd/system/image-cri-shim.service": "image-cri-shim.service was changed",
		"chmod 0600 /run/image-cri-shim.sock":                                  "has not the owner and mode of the runtime's socket",
	} {
		m.must(t, "sh", "-c", damage)
		m.wantDrift(t, firstRelease, want)
		m.install(t, firstRelease, files)
	}

	process = m.shows(t, "MainPID")
	for range 2 { // the second has nothing to do
		if output, err := m.run(t, "remove", firstRelease); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		m.wantUnchanged(t, before)
	}
	m.wantGone(t, process)
}

// killAgent kills installations of another version after ever longer times, and lets the next
// one complete. A killed installation must not fail calls either.
func (m agentMachine) killAgent(t *testing.T, files map[string]string) {
	t.Helper()
	m.provide(t, files)
	killed := 0
	for number := range 12 {
		release := []string{secondRelease, firstRelease}[number%2]
		after := fmt.Sprintf("%.2f", 0.05+0.05*float64(number))
		if _, err := m.run(t, "install", release, "timeout", "-s", "KILL", after); err != nil {
			killed++
		}
		m.install(t, []string{firstRelease, secondRelease}[number%3%2], files)
	}
	if killed == 0 {
		t.Error("no installation was killed")
	}
	t.Logf("%d installations killed", killed)
	m.install(t, firstRelease, files)
}

// TestAgentServiceRefuses requires that a configuration with errors, and one that needs a file
// that is missing, change nothing, and that the message names the line and no secret.
func TestAgentServiceRefuses(t *testing.T) {
	m := newAgentMachine(t)
	defer m.checkLog(t)
	files := map[string]string{"image-cri-shim.yaml": privateConfiguration(), "auth.json": "{}"}
	m.install(t, firstRelease, files)
	process, before := m.shows(t, "MainPID"), m.inventory(t)
	for configuration, want := range map[string]string{
		privateConfiguration() + "adress: x\n":                      "image-cri-shim.yaml:4: adress: unknown key",
		privateConfiguration() + "ca: /etc/image-cri-shim/ca.pem\n": "image-cri-shim.yaml:4: ca: ",
	} {
		m.provide(t, map[string]string{"image-cri-shim.yaml": configuration, "auth.json": `{"auths":{}}`, "more": "more"})
		if _, err := m.run(t, "install", firstRelease); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
	// The folder of the version is installed before the check.
	m.wantUnchanged(t, before)
	if now := m.shows(t, "MainPID"); now != process {
		t.Errorf("process %s was replaced by %s", process, now)
	}
	m.provide(t, files)
	m.wantDrift(t, firstRelease, "")
}
