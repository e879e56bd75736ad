package e2e

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"image-cri-shim/e2e/testbed"
)

// machine has its own systemd, and this machine's containerd at its usual path.
type machine struct{ *testbed.Machine }

// The folders of the packages inside the machine.
const oldPackages, currentPackages = "/mnt/old", "/mnt/current"

func newMachine(t *testing.T) machine {
	t.Helper()
	needMachine(t)
	first, second := needPackages(t)
	return bootMachine(t, map[string]string{oldPackages: first, currentPackages: second})
}

// needMachine skips the test if a machine with systemd and containerd can't run here.
func needMachine(t *testing.T) {
	t.Helper()
	needContainerd(t)
	if err := testbed.MachineMissing(); err != nil {
		t.Skip("a machine with systemd can't run here:", err)
	}
}

// bootMachine starts a machine that has folders of this one, by their path inside.
func bootMachine(t *testing.T, mounts map[string]string) machine {
	t.Helper()
	runtime := needContainerd(t)
	mounts["/run/containerd"] = filepath.Dir(runtime.Socket())
	booted, err := testbed.StartMachine(testContext(t), testbed.MachineOptions{Folder: t.TempDir(), Mounts: mounts})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(booted.Stop)
	n := &node{direct: dial(t, runtime.Socket())}
	n.removeImages(t)
	t.Cleanup(func() { n.removeImages(t) })
	return machine{booted}
}

// must runs a command on the machine, which must succeed.
func (m machine) must(t *testing.T, command ...string) (output string) {
	t.Helper()
	output, err := m.Run(testContext(t), command...)
	if err != nil {
		t.Fatal(err)
	}
	return output
}

// configure writes the configuration file of an installed package.
func (m machine) configure(t *testing.T, configuration string) {
	t.Helper()
	if err := os.WriteFile(m.Path("/etc/image-cri-shim.yaml"), []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
}

// shows returns a property of the service from systemctl show.
func (m machine) shows(t *testing.T, property string) string {
	t.Helper()
	return m.must(t, "systemctl", "show", "--value", "--property", property, "image-cri-shim.service")
}

// version returns the version that the running shim reports.
func (m machine) version(t *testing.T) string {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", m.Path("/var/lib/image-cri-shim/admin.sock"))
	}}
	request, err := http.NewRequestWithContext(testContext(t), http.MethodGet, "http://shim/about", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var about struct{ Version string }
	if err := json.NewDecoder(response.Body).Decode(&about); err != nil {
		t.Fatal(err)
	}
	return about.Version
}

// startLoad starts clients of the machine's shim.
func (m machine) startLoad(t *testing.T, failed func(error)) (all []*loadClient, stop func()) {
	t.Helper()
	return startLoad(t, m.Path("/run/image-cri-shim.sock"), failed)
}

// checkLog requires that the units' logs contain no passwords, and prints the logs of a
// failed test.
func (m machine) checkLog(t *testing.T) {
	t.Helper()
	log := m.must(t, "journalctl", "--no-pager", "--unit", "image-cri-shim.service", "--unit", "image-cri-shim.socket")
	wantNoSecret(t, "the journal", []byte(log))
	if t.Failed() {
		t.Logf("the journal:\n%s", log[max(0, len(log)-8192):])
	}
}

// upgrades is the number of upgrades and downgrades of a package, in turn.
const upgrades = 4

// TestPackageUpgradesUnderLoad upgrades and downgrades the packages under a real systemd
// while clients use the shim. No call may fail.
func TestPackageUpgradesUnderLoad(t *testing.T) {
	m := newMachine(t)
	for name, commands := range map[string]struct {
		pattern                string
		install, remove, purge []string
	}{
		"dpkg": {
			pattern: "*.deb",
			install: []string{"dpkg", "--install"},
			remove:  []string{"dpkg", "--remove", "image-cri-shim"},
			purge:   []string{"dpkg", "--purge", "image-cri-shim"},
		},
		"rpm": {
			pattern: "*.rpm",
			install: []string{"rpm", "--nodeps", "--oldpackage", "--upgrade"},
			remove:  []string{"rpm", "--erase", "image-cri-shim"},
			purge:   []string{"rm", "/etc/image-cri-shim.yaml.rpmsave"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer m.checkLog(t)
			install := func(folder string) {
				t.Helper()
				file := onlyFile(t, m.Path(folder), commands.pattern)
				m.must(t, append(commands.install[:len(commands.install):len(commands.install)], filepath.Join(folder, filepath.Base(file)))...)
			}
			install(oldPackages)
			m.configure(t, privateConfiguration())
			m.must(t, "systemctl", "enable", "--now", "image-cri-shim.socket", "image-cri-shim.service")
			all, stop := m.startLoad(t, func(err error) { t.Errorf("call failed: %v", err) })
			process := m.shows(t, "MainPID")
			for number := range upgrades {
				awaitAnswers(t, all)
				folder, version := currentPackages, "v1.0.0-1-gabcdef0"
				if number%2 == 1 {
					folder, version = oldPackages, "v1.0.0"
				}
				install(folder)
				next := m.shows(t, "MainPID")
				if got := m.version(t); got != version || next == process {
					t.Errorf("after the installation of %s the version is %s; process %s is now %s", version, got, process, next)
				}
				process = next
			}
			awaitEachKind(t, all)
			stop()
			answered, failed := totals(all)
			t.Logf("%d calls answered, %d failed", answered, failed)
			m.must(t, commands.remove...)
			m.wantGone(t, process)
			m.must(t, commands.purge...)
		})
	}
}

// wantGone requires that no file, unit or process of the shim remains.
func (m machine) wantGone(t *testing.T, process string) {
	t.Helper()
	for _, file := range []string{"/run/image-cri-shim.sock", "/proc/" + process, "/usr/bin/image-cri-shim"} {
		if _, err := os.Lstat(m.Path(file)); !os.IsNotExist(err) {
			t.Errorf("%s still exists: %v", file, err)
		}
	}
	if failed := m.must(t, "systemctl", "list-units", "--all", "--plain", "--no-legend", "image-cri-shim.*"); failed != "" {
		t.Errorf("systemd still lists:\n%s", failed)
	}
}

// startService installs the service and starts it without its socket unit, so that the shim
// creates the socket.
func (m machine) startService(t *testing.T) {
	t.Helper()
	m.must(t, "dpkg", "--install", filepath.Join(oldPackages, filepath.Base(onlyFile(t, m.Path(oldPackages), "*.deb"))))
	m.configure(t, privateConfiguration())
	m.must(t, "systemctl", "enable", "--now", "image-cri-shim.service")
}

// TestPackageServiceIsConfined lets the shim pull and write its journal, and checks the
// permissions of the process.
func TestPackageServiceIsConfined(t *testing.T) {
	m := newMachine(t)
	defer m.checkLog(t)
	m.startService(t)
	all, stop := m.startLoad(t, func(err error) { t.Errorf("call failed: %v", err) })
	awaitEachKind(t, all)
	stop()
	// containerd keeps the names, so the only state is the journal of pulls.
	if journal, err := os.ReadFile(m.Path("/var/lib/image-cri-shim/pulls.json")); err != nil || !strings.Contains(string(journal), `"repositories":`) {
		t.Errorf("journal of pulls: %v\n%s", err, journal)
	}
	process := m.shows(t, "MainPID")
	for folder, writable := range map[string]bool{
		"/run": true, "/var/lib/image-cri-shim": true,
		"/etc": false, "/usr/bin": false, "/var/lib": false, "/run/systemd/system": false,
	} {
		output, err := m.Run(testContext(t), "nsenter", "--target", process, "--mount", "touch", folder+"/new")
		if refused := strings.Contains(output, "Read-only file system"); (err == nil) != writable || refused == writable {
			t.Errorf("write to %s: %v; want permitted: %v", folder, err, writable)
		}
	}
	status, err := os.ReadFile(m.Path("/proc/" + process + "/status"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"CapEff:\t000000000000000b\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
		if !strings.Contains(string(status), line) {
			t.Errorf("the process status does not contain %q:\n%s", line, status)
		}
	}
}

// TestPackageServiceIsSupervised reloads the shim, restarts it more often than systemd
// permits without being asked by the unit, and freezes it.
func TestPackageServiceIsSupervised(t *testing.T) {
	m := newMachine(t)
	defer m.checkLog(t)
	const changes = "/etc/systemd/system/image-cri-shim.service.d"
	m.must(t, "mkdir", changes)
	if err := os.WriteFile(m.Path(changes+"/impatient.conf"), []byte("[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.startService(t)
	m.configure(t, privateConfiguration()+"drain: 10s\n")
	m.must(t, "systemctl", "reload", "image-cri-shim.service")
	eventually(t, func() string {
		log := m.must(t, "journalctl", "--no-pager", "--unit", "image-cri-shim.service")
		if strings.Contains(log, "reloaded the configuration") {
			return ""
		}
		return "the configuration is not reloaded"
	})
	for range 6 {
		m.must(t, "systemctl", "restart", "image-cri-shim.service")
	}
	process := m.shows(t, "MainPID")
	for range 3 {
		last := m.shows(t, "WatchdogTimestampMonotonic")
		eventually(t, func() string {
			if m.shows(t, "WatchdogTimestampMonotonic") == last {
				return "the watchdog has not been notified"
			}
			return ""
		})
	}
	if now := m.shows(t, "MainPID"); now != process {
		t.Errorf("process %s was replaced by %s although it notified the watchdog", process, now)
	}
	m.must(t, "kill", "-STOP", process)
	eventually(t, func() string {
		if now := m.shows(t, "MainPID"); now == process || m.shows(t, "ActiveState") != "active" {
			return "the frozen shim is not replaced"
		}
		return ""
	})
	all, _ := m.startLoad(t, func(err error) { t.Errorf("call failed: %v", err) })
	awaitAnswers(t, all)
}
