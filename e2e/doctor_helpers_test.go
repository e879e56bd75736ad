package e2e

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// doctorFixture runs the doctor's cases on one containerd. Each case has a [doctorNode].
type doctorFixture struct {
	folder     string
	containerd *testbed.Containerd
	sandbox    string
}

// doctorNode is the node of one case: a shim and the configuration files of kubelet, crictl
// and kubeadm, all of which use the shim.
type doctorNode struct {
	*doctorFixture
	folder          string
	shim            *testbed.Shim
	registryEntries string // in the configuration, after the private registry
	settings        string // more keys of the configuration; empty: a lookupTimeout
}

// doctorFinding is a line of the doctor's report.
type doctorFinding struct{ Check, Subject, Level, Text, Hint string }

// newDoctorFixture starts a containerd with this sandbox image.
func newDoctorFixture(t *testing.T, sandbox string) *doctorFixture {
	t.Helper()
	needContainerd(t)
	fixture := &doctorFixture{folder: temporaryFolder(t), sandbox: sandbox}
	var err error
	fixture.containerd, err = testbed.StartContainerd(testContext(t), testbed.RuntimeOptions{
		Folder: filepath.Join(fixture.folder, "containerd"), SandboxImage: sandbox,
		Hosts: map[string]testbed.Host{shared.private.Host(): {Address: shared.private.Address()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fixture.containerd.Stop() })
	return fixture
}

func temporaryFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "doctor-") // not t.TempDir, whose path is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// pullSandbox pulls the sandbox image as the runtime does.
func (fixture *doctorFixture) pullSandbox(t *testing.T) {
	t.Helper()
	login := &runtimeapi.AuthConfig{Username: privateUser, Password: privatePassword}
	if _, err := dial(t, fixture.containerd.Socket()).Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: fixture.sandbox}, login, nil); err != nil {
		t.Fatal(err)
	}
}

// writeHosts adds a registry to containerd's configuration until the test ends.
func (fixture *doctorFixture) writeHosts(t *testing.T, registry, content string) {
	t.Helper()
	file := filepath.Join(fixture.folder, "containerd", "certs.d", registry, "hosts.toml")
	was, readErr := os.ReadFile(file)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, content)
	t.Cleanup(func() {
		if readErr != nil {
			_ = os.RemoveAll(filepath.Dir(file))
			return
		}
		writeFile(t, file, string(was))
	})
}

func writeFile(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// newNode prepares a healthy node, without its shim.
func (fixture *doctorFixture) newNode(t *testing.T) *doctorNode {
	t.Helper()
	n := &doctorNode{doctorFixture: fixture, folder: temporaryFolder(t)}
	socket := "unix://" + filepath.Join(n.folder, "shim.sock")
	writeFile(t, n.file("kubelet.yaml"), "kind: KubeletConfiguration\ncontainerRuntimeEndpoint: "+socket+"\n")
	writeFile(t, n.file("kubelet.env"), `KUBELET_KUBEADM_ARGS="--pod-infra-container-image=pause"`+"\n")
	writeFile(t, n.file("crictl.yaml"), "runtime-endpoint: "+socket+"\nimage-endpoint: "+socket+"\n")
	writeFile(t, n.file("kubeadm.yaml"), "kind: ClusterConfiguration\n---\nkind: InitConfiguration\nnodeRegistration:\n  criSocket: "+socket+"\n")
	return n
}

func (n *doctorNode) file(name string) string { return filepath.Join(n.folder, name) }

// addRegistry adds a registry to the configurations of the shim and of containerd.
func (n *doctorNode) addRegistry(t *testing.T, address, settings, hosts string) {
	t.Helper()
	n.registryEntries += fmt.Sprintf("- address: %s\n%s", address, settings)
	if _, host, _ := strings.Cut(address, "://"); hosts != "" {
		n.writeHosts(t, host, fmt.Sprintf("server = %[1]q\n[host.%[1]q]\n%[2]s", address, hosts))
	}
}

// start starts the shim with the configuration.
func (n *doctorNode) start(t *testing.T, password string) {
	t.Helper()
	configuration := fmt.Sprintf("address: %s\nauth: %q\n%s", shared.private.Address(), privateUser+":"+password, cmp.Or(n.settings, "lookupTimeout: 10s\n"))
	if n.registryEntries != "" {
		configuration += "registries:\n" + n.registryEntries
	}
	var err error
	n.shim, err = testbed.StartShim(testContext(t), testbed.ShimOptions{
		Binary: shared.shim, Folder: n.folder, Runtime: n.containerd.Socket(), Configuration: configuration,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.shim.Stop() })
}

// arguments returns the doctor's arguments.
func (n *doctorNode) arguments(more ...string) []string {
	return append([]string{"--file", n.file("image-cri-shim.yaml"), "doctor", "--kubelet-config", n.file("kubelet.yaml"), "--kubelet-flags", n.file("kubelet.env"),
		"--crictl-config", n.file("crictl.yaml"), "--kubeadm-config", n.file("kubeadm*.yaml"),
		"--containerd-config", filepath.Join(n.doctorFixture.folder, "containerd", "config.toml")}, more...)
}

// runCommand runs the doctor. The exit code must match the report, the output must contain
// no secret, and each finding that is not OK must have a hint.
func (n *doctorNode) runCommand(t *testing.T, command *exec.Cmd) (findings []doctorFinding) {
	t.Helper()
	output, err := command.Output()
	code := 0
	if exit, exited := errors.AsType[*exec.ExitError](err); exited {
		code = exit.ExitCode()
		wantNoSecret(t, "doctor's error", exit.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	wantNoSecret(t, "doctor", output)
	var report struct {
		Level    string
		Findings []doctorFinding
	}
	if err := json.Unmarshal(output, &report); err != nil {
		t.Fatalf("the doctor printed %s", output)
	}
	if want := map[string]int{"OK": 0, "WARN": 0, "FAIL": 2}[report.Level]; code != want {
		t.Errorf("exit code %d, want %d: %s", code, want, output)
	}
	for _, f := range report.Findings {
		if f.Level != "OK" && f.Hint == "" {
			t.Errorf("no hint: %+v", f)
		}
	}
	return report.Findings
}

func (n *doctorNode) runDoctor(t *testing.T, more ...string) []doctorFinding {
	t.Helper()
	return n.runCommand(t, exec.CommandContext(testContext(t), shared.shim, n.arguments(append([]string{"--output", "json"}, more...)...)...))
}

// notOK returns the findings that are not OK.
func notOK(findings []doctorFinding) (problems []doctorFinding) {
	for _, f := range findings {
		if f.Level != "OK" {
			problems = append(problems, f)
		}
	}
	return problems
}

// doctorCase is a fault and the one finding that it causes.
type doctorCase struct {
	name     string
	password string                        // of the shim; empty: the right one
	prepare  func(*testing.T, *doctorNode) // called before the shim starts
	fault    func(*testing.T, *doctorNode) // called after the shim has started
	check    string                        // the check that is not OK; empty: none
	subject  func(*doctorNode) string
	level    string
	text     string
	hint     string
	lines    int // number of lines that are not OK; 0 means one
}

// run runs each case on a new healthy node.
func (fixture *doctorFixture) run(t *testing.T, cases []doctorCase) {
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			n := fixture.newNode(t)
			if test.prepare != nil {
				test.prepare(t, n)
			}
			n.start(t, cmp.Or(test.password, privatePassword))
			if test.fault != nil {
				test.fault(t, n)
			}
			test.wantOnlyFinding(t, n, notOK(n.runDoctor(t)))
		})
	}
}

func (test doctorCase) wantOnlyFinding(t *testing.T, n *doctorNode, got []doctorFinding) {
	t.Helper()
	if test.check == "" {
		if len(got) > 0 {
			t.Errorf("got %+v, want all OK", got)
		}
		return
	}
	if len(got) != max(test.lines, 1) {
		t.Fatalf("got %+v,\nwant only %s of %s", got, test.level, test.check)
	}
	f := got[0]
	if f.Check != test.check || f.Subject != test.subject(n) || f.Level != test.level || !strings.Contains(f.Text, test.text) || !strings.Contains(f.Hint, test.hint) {
		t.Errorf("got %+v,\nwant %s of %s %s with %q and %q", f, test.level, test.check, test.subject(n), test.text, test.hint)
	}
}

// nodeFile returns a function for doctorCase.subject that returns a file of the node.
func nodeFile(file string) func(*doctorNode) string {
	return func(n *doctorNode) string { return n.file(file) }
}
