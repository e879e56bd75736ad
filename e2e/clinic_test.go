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

// clinic is a node to put faults into: a containerd of its own and, for each
// patient, a shim and the files of kubelet, crictl and kubeadm, which all use it.
type clinic struct {
	folder     string
	containerd *testbed.Containerd
	sandbox    string
}

// patient is one such node before the doctor sees it.
type patient struct {
	*clinic
	folder string
	shim   *testbed.Shim
	entry  string // of more registries in the configuration
}

// finding is a line of the doctor's report.
type finding struct{ Check, Subject, Level, Text, Hint string }

// openClinic starts containerd, whose sandbox image is on the node.
func openClinic(t *testing.T, sandbox string) *clinic {
	t.Helper()
	needContainerd(t)
	c := &clinic{folder: temporaryFolder(t), sandbox: sandbox}
	var err error
	c.containerd, err = testbed.StartContainerd(testContext(t), testbed.RuntimeOptions{
		Folder: filepath.Join(c.folder, "containerd"), SandboxImage: sandbox,
		Hosts: map[string]testbed.Host{shared.private.Host(): {Address: shared.private.Address()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.containerd.Stop() })
	return c
}

func temporaryFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "doctor-") // not t.TempDir: a socket's path would become too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// pullSandbox puts the sandbox image on the node as the runtime does.
func (c *clinic) pullSandbox(t *testing.T) {
	t.Helper()
	login := &runtimeapi.AuthConfig{Username: privateUser, Password: privatePassword}
	if _, err := dial(t, c.containerd.Socket()).Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: c.sandbox}, login, nil); err != nil {
		t.Fatal(err)
	}
}

// writeHosts tells containerd about a registry, until the test ends.
func (c *clinic) writeHosts(t *testing.T, registry, content string) {
	t.Helper()
	file := filepath.Join(c.folder, "containerd", "certs.d", registry, "hosts.toml")
	was, readErr := os.ReadFile(file)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, file, content)
	t.Cleanup(func() {
		if readErr != nil {
			_ = os.RemoveAll(filepath.Dir(file))
			return
		}
		write(t, file, string(was))
	})
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// admit prepares a healthy patient, without its shim.
func (c *clinic) admit(t *testing.T) *patient {
	t.Helper()
	p := &patient{clinic: c, folder: temporaryFolder(t)}
	socket := "unix://" + filepath.Join(p.folder, "shim.sock")
	write(t, p.file("kubelet.yaml"), "kind: KubeletConfiguration\ncontainerRuntimeEndpoint: "+socket+"\n")
	write(t, p.file("kubelet.env"), `KUBELET_KUBEADM_ARGS="--pod-infra-container-image=pause"`+"\n")
	write(t, p.file("crictl.yaml"), "runtime-endpoint: "+socket+"\nimage-endpoint: "+socket+"\n")
	write(t, p.file("kubeadm.yaml"), "kind: ClusterConfiguration\n---\nkind: InitConfiguration\nnodeRegistration:\n  criSocket: "+socket+"\n")
	return p
}

func (p *patient) file(name string) string { return filepath.Join(p.folder, name) }

// addRegistry configures one more, which containerd is told about, too.
func (p *patient) addRegistry(t *testing.T, address, settings, hosts string) {
	t.Helper()
	p.entry += fmt.Sprintf("- address: %s\n%s", address, settings)
	if _, host, _ := strings.Cut(address, "://"); hosts != "" {
		p.writeHosts(t, host, fmt.Sprintf("server = %[1]q\n[host.%[1]q]\n%[2]s", address, hosts))
	}
}

// start starts the shim with the configuration.
func (p *patient) start(t *testing.T, password string) {
	t.Helper()
	configuration := fmt.Sprintf("address: %s\nauth: %q\nlookupTimeout: 10s\n", shared.private.Address(), privateUser+":"+password)
	if p.entry != "" {
		configuration += "registries:\n" + p.entry
	}
	var err error
	p.shim, err = testbed.StartShim(testContext(t), testbed.ShimOptions{
		Binary: shared.shim, Folder: p.folder, Runtime: p.containerd.Socket(), Configuration: configuration,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.shim.Stop() })
}

// arguments are the doctor's.
func (p *patient) arguments(more ...string) []string {
	return append([]string{"--file", p.file("image-cri-shim.yaml"), "doctor", "--kubelet-config", p.file("kubelet.yaml"), "--kubelet-flags", p.file("kubelet.env"),
		"--crictl-config", p.file("crictl.yaml"), "--kubeadm-config", p.file("kubeadm*.yaml"),
		"--containerd-config", filepath.Join(p.clinic.folder, "containerd", "config.toml")}, more...)
}

// examine runs the doctor, which must exit by its report, show no secret, and say
// what to do about what is not OK.
func (p *patient) examine(t *testing.T, command *exec.Cmd) (findings []finding) {
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
		Findings []finding
	}
	if err := json.Unmarshal(output, &report); err != nil {
		t.Fatalf("the doctor says %s", output)
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

func (p *patient) doctor(t *testing.T, more ...string) []finding {
	t.Helper()
	return p.examine(t, exec.CommandContext(testContext(t), shared.shim, p.arguments(append([]string{"--output", "json"}, more...)...)...))
}

// ill is what is not OK.
func ill(findings []finding) (ill []finding) {
	for _, f := range findings {
		if f.Level != "OK" {
			ill = append(ill, f)
		}
	}
	return ill
}

// illness is a fault, and the one line of the report that it shows in.
type illness struct {
	name     string
	password string                     // of the shim; empty: the right one
	prepare  func(*testing.T, *patient) // before the shim starts
	fault    func(*testing.T, *patient) // after it
	check    string                     // whose line is not OK; empty: none
	subject  func(*patient) string
	level    string
	text     string
	hint     string
	lines    int // of the report that are not OK; 0: one
}

// treat gives each illness to a healthy patient of its own.
func (c *clinic) treat(t *testing.T, illnesses []illness) {
	for _, i := range illnesses {
		t.Run(i.name, func(t *testing.T) {
			p := c.admit(t)
			if i.prepare != nil {
				i.prepare(t, p)
			}
			p.start(t, cmp.Or(i.password, privatePassword))
			if i.fault != nil {
				i.fault(t, p)
			}
			i.wantAlone(t, p, ill(p.doctor(t)))
		})
	}
}

func (i illness) wantAlone(t *testing.T, p *patient, got []finding) {
	t.Helper()
	if i.check == "" {
		if len(got) > 0 {
			t.Errorf("%+v, want all OK", got)
		}
		return
	}
	if len(got) != max(i.lines, 1) {
		t.Fatalf("%+v,\nwant %s of %s alone", got, i.level, i.check)
	}
	f := got[0]
	if f.Check != i.check || f.Subject != i.subject(p) || f.Level != i.level || !strings.Contains(f.Text, i.text) || !strings.Contains(f.Hint, i.hint) {
		t.Errorf("%+v,\nwant %s of %s %s with %q and %q", f, i.level, i.check, i.subject(p), i.text, i.hint)
	}
}

// at is a file of the patient.
func at(file string) func(*patient) string {
	return func(p *patient) string { return p.file(file) }
}
