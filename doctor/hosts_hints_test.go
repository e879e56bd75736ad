package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/config"
	"image-cri-shim/registry"
)

// TestHostsHints requires that the command of a hint writes a file in a form that every
// recorded version of containerd accepts, and that it keeps a copy of a former file.
func TestHostsHints(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "it's here", "hub:5000")
	file := filepath.Join(folder, "hosts.toml")
	run := func(choose func(routing) string, want string) {
		t.Helper()
		r := routing{}
		r.setHints(file, "hub:5000")
		runCommands(t, topic{}.fail(choose(r), "text"), 1)
		content, err := os.ReadFile(file)
		if err != nil || string(content) != want {
			t.Errorf("%s, %v, want\n%s", content, err, want)
		}
		for _, version := range []string{"1.6.20", "2.4.2"} {
			if _, err := parseHosts(folder, content, hostsRulesOf(version)); err != nil {
				t.Errorf("containerd %s ignores\n%s\n%v", version, content, err)
			}
		}
	}
	const plain = "server = \"http://hub:5000\"\n[host.\"http://hub:5000\"]\n"
	const encrypted = "server = \"https://hub:5000\"\n[host.\"https://hub:5000\"]\nca = \"%s\"\n"
	run(func(r routing) string { return r.httpHint }, plain)
	run(func(r routing) string { return r.caHint("/etc/ca.pem") }, strings.Replace(encrypted, "%s", "/etc/ca.pem", 1))
	if content, err := os.ReadFile(file + ".old"); err != nil || string(content) != plain {
		t.Errorf("the copy: %s, %v", content, err)
	}
	run(func(r routing) string { return r.caHint("") }, strings.Replace(encrypted, "%s", folder+"/ca.crt", 1))
}

// TestConfigPathHint requires that the commands of a hint write a file that the doctor reads.
func TestConfigPathHint(t *testing.T) {
	for version, content := range map[string]string{"2.4.2": "", "1.7.0": "version = 2", "2.0.0": "version = 3\n[plugins.\"io.containerd.cri.v1.images\"]\nsnapshotter = \"x\""} {
		file := filepath.Join(t.TempDir(), "containerd", "config.toml")
		if content != "" {
			if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		f := topic{}.fail(readContainerd(file).configPathHint("/certs.d", hostsRulesOf(version)), "text")
		if len(f.Commands) != 2 || f.Commands[1] != "systemctl restart containerd" {
			t.Fatalf("%+v", f)
		}
		f.Commands = f.Commands[:1]
		runCommands(t, f, 1)
		if got, err := decodeContainerd(file); err != nil || got.configPath() != "/certs.d" {
			t.Errorf("containerd %s: config_path %q, %v", version, got.configPath(), err)
		}
	}
}

// TestContainerdWithoutRestart requires that the doctor trusts the settings that containerd
// reports over those in its file, and doubts a file that is newer than a containerd that
// reports none.
func TestContainerdWithoutRestart(t *testing.T) {
	b := newHostsFixture(t)
	root := t.TempDir()
	host := b.names["HTTP"]
	file := filepath.Join(root, "config.toml")
	write := func(path, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := &node{
		Options: Options{Settings: &config.Config{LookupTimeout: 10 * time.Second}, Files: Files{Containerd: file}},
		runtime: criServer{version: &cri.VersionResponse{RuntimeName: "containerd"}},
	}
	trust := func() []Finding {
		return n.trustFindings(t.Context(), registry.Probe{Registry: "http://" + host, Host: host}, config.Registry{})
	}
	n.runtime.version.RuntimeVersion = "1.6.20"
	n.runtimeSettings.SandboxImage = "pause:3.9"
	write(file, "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \""+root+"\"\n")
	routing, err := n.containerdRouting("hub.example:5000")
	if err != nil || routing.source != "containerd's default" {
		t.Errorf("%+v, %v", routing, err)
	}
	wantFinding(t, []Finding{topic{}.fail(routing.httpHint+routing.moreHint, "text")}, Fail, "text", "hosts.toml, then systemctl restart containerd: it has not read config_path")
	write(filepath.Join(root, "hub.example:5000", "hosts.toml"), "server = \"http://hub.example:5000\"\n[host]\n")
	if routing, err = n.containerdRouting("hub.example:5000"); err != nil || routing.httpHint != "containerd has not read config_path in "+file+": "+restartContainerd || routing.moreHint != "" {
		t.Errorf("%+v, %v", routing, err)
	}
	wantFinding(t, checkContainerdFile(t.Context(), n), Warn, "containerd started before this change: it runs with no config_path, but the file sets config_path \""+root+"\"", "systemctl restart containerd")
	n.runtimeSettings.Registry.ConfigPath = root
	if got := checkContainerdFile(t.Context(), n); len(got) > 0 {
		t.Errorf("with the same config_path: %+v", got)
	}
	// containerd 2
	n.runtime.version.RuntimeVersion = "2.4.2"
	n.runtimeSettings = runtimeSettings{}
	write(filepath.Join(root, host, "hosts.toml"), "server = \"http://"+host+"\"\n[host]\n")
	n.process.started = time.Now().Add(time.Hour)
	wantFinding(t, trust(), OK, "uses http, like the shim", "")
	n.process.started = time.Now().Add(-time.Hour)
	wantFinding(t, trust(), Warn, "but containerd started before "+file+" changed", "systemctl restart containerd")
}
