package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckSystem requires that the agent refuses systems that would lose or undo the
// installation, and that the error names their own setting for registries.
func TestCheckSystem(t *testing.T) {
	for name, test := range map[string]struct {
		file, content string
		wants         []string // nil: supported
	}{
		"another process 1":       {"etc/os-release", "ID=alpine\n", []string{"process 1 is not systemd", "run/systemd/system", "nothing was changed"}},
		"Talos":                   {"etc/os-release", "NAME=\"Talos\"\nID=talos\nVERSION_ID=v1.13.0\n", []string{"Talos has no systemd", "machine.registries.mirrors", "machine.registries.config", "RegistryMirrorConfig", "nothing was changed", "image-cri-shim.io/enabled=false"}},
		"Bottlerocket":            {"etc/os-release", "NAME=Bottlerocket\nID=bottlerocket\nVARIANT_ID=aws-k8s-1.34\n", []string{"settings.container-registry.mirrors", "settings.container-registry.credentials", "nothing was changed"}},
		"Container-Optimized OS":  {"etc/os-release", "NAME=\"Container-Optimized OS\"\nID=cos\n", []string{"loses /etc at each reboot", "registryHosts", "Ubuntu"}},
		"Red Hat CoreOS":          {"etc/os-release", "ID=\"rhcos\"\nID_LIKE=\"rhel fedora\"\n", []string{"machine config operator", "ImageTagMirrorSet", "ImageDigestMirrorSet"}},
		"a later Red Hat CoreOS":  {"usr/lib/os-release", "ID='rhel'\nVARIANT_ID=coreos\nOPENSHIFT_VERSION=\"4.22\"\n", []string{"OpenShift"}},
		"CRLF and blanks":         {"etc/os-release", "\r\n  ID=\"talos\" \r\n", []string{"Talos has no systemd"}},
		"a long line":             {"etc/os-release", "A=" + strings.Repeat("a", 1<<17) + "\nID=talos\n", []string{"Talos has no systemd"}},
		"Flatcar":                 {"etc/os-release", "ID=flatcar\nID_LIKE=coreos\n", nil},
		"Fedora CoreOS":           {"etc/os-release", "ID=fedora\nVARIANT_ID=coreos\n", nil},
		"openSUSE MicroOS":        {"etc/os-release", "ID=\"opensuse-microos\"\n", nil},
		"a system without a name": {"etc/issue", "ID=talos\n", nil},
	} {
		root := t.TempDir()
		file := filepath.Join(root, test.file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(test.content), 0o644)); err != nil {
			t.Fatal(err)
		}
		if name != "another process 1" {
			if err := os.MkdirAll(filepath.Join(root, "run/systemd/system"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		err := checkSystem(root)
		if (err == nil) != (test.wants == nil) {
			t.Errorf("%s: %v", name, err)
		}
		for _, want := range test.wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error is %v, want %q", name, err, want)
			}
		}
	}
}
