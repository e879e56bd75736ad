package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Distribution is a Kubernetes distribution that keeps kubelet's endpoint in files of its own.
type Distribution struct {
	Name    string
	Unit    string // systemd unit that runs kubelet
	Runtime string // socket of the runtime that it starts itself, which kubelet uses by default
	files   []file
	manual  string // change by hand that points kubelet at the socket %s
}

// Manual returns the change by hand that points kubelet at a socket.
func (d Distribution) Manual(socket string) string {
	return fmt.Sprintf(d.manual, socket) + ", then run systemctl restart " + d.Unit +
		"; if " + d.Name + " no longer runs on this node, ignore its files with --distribution-root /none"
}

// Paths lists the files that are read, including one that Install may create.
func (d Distribution) Paths() (paths []string) {
	for _, f := range d.files {
		paths = append(paths, f.path)
	}
	return paths
}

// DistributionNames names the distributions that [FindDistributions] finds.
const DistributionNames = "k3s, RKE2, k0s, MicroK8s"

// FindDistributions returns the distributions that have a configuration file or a unit below
// the folder root.
func FindDistributions(root string) []Distribution {
	var found []Distribution
	for _, d := range []Distribution{
		findRancher(root, "k3s", "k3s", "k3s-agent"),
		findRancher(root, "RKE2", "rke2-server", "rke2-agent"),
		findK0s(root),
		findMicroK8s(root),
	} {
		if len(d.files) > 0 {
			found = append(found, d)
		}
	}
	return found
}

// findK0s finds a k0s that runs kubelet: a worker, or a controller that is a worker too. Its
// unit contains the endpoint. The flag --cri-socket also sets it, but then k0s no longer
// starts its containerd.
func findK0s(root string) Distribution {
	d := Distribution{Name: "k0s", Runtime: "/run/k0s/containerd.sock"}
	for _, unit := range []string{"k0sworker", "k0scontroller"} {
		units := unitFiles(root, unit)
		if len(units) == 0 || unit == "k0scontroller" && !contain(units, "--enable-worker", "--single") {
			continue
		}
		d.Unit = unit
		if contain(units, "--kubelet-extra-args") { // k0s uses the last one: k0sctl issue 476
			d.manual = "append --container-runtime-endpoint=unix://%s to the value of --kubelet-extra-args in " + units[0] + ", run systemctl daemon-reload"
			d.addUnits(units)
			continue
		}
		d.manual = "add the argument --kubelet-extra-args=--container-runtime-endpoint=unix://%s to ExecStart in " + units[0] + ", run systemctl daemon-reload"
		d.addUnits(units)
	}
	return d
}

// findMicroK8s finds MicroK8s. Its file with the flags of kubelet contains variables of snap.
func findMicroK8s(root string) Distribution {
	const data, common = "/var/snap/microk8s/current", "/var/snap/microk8s/common"
	d := Distribution{
		Name: "MicroK8s", Unit: "snap.microk8s.daemon-kubelite", Runtime: common + "/run/containerd.sock",
		manual: "add the line --container-runtime-endpoint=unix://%s to " + data + "/args/kubelet",
	}
	for _, path := range existing(filepath.Join(root, data, "args/kubelet")) {
		variables := strings.NewReplacer("${SNAP_DATA}", data, "$SNAP_DATA", data, "${SNAP_COMMON}", common, "$SNAP_COMMON", common)
		d.files = append(d.files, file{path: path, format: flagsFormatWith(variables)})
	}
	return d
}

func (d *Distribution) addUnits(paths []string) {
	for _, path := range paths {
		d.files = append(d.files, file{path: path, format: unitFormat, readOnly: true, unit: d.Unit})
	}
}

func (d Distribution) client() client {
	return client{files: d.files, defaultRuntime: d.Runtime, distribution: &d}
}

// unitFiles returns the file of a unit that systemd uses, and its drop-ins, or nothing if the
// unit does not exist.
func unitFiles(root, unit string) []string {
	for _, folder := range []string{"etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"} {
		if found := existing(filepath.Join(root, folder, unit+".service")); len(found) > 0 {
			return append(found, existing(filepath.Join(root, "etc/systemd/system", unit+".service.d/*.conf"))...)
		}
	}
	return nil
}

// existing returns the existing files that match patterns.
func existing(patterns ...string) (paths []string) {
	for _, pattern := range patterns {
		matches, _ := filepath.Glob(pattern) // the patterns are valid, apart from root
		paths = append(paths, matches...)
	}
	return paths
}

// contain reports whether one of the files contains one of the words.
func contain(paths []string, words ...string) bool {
	return slices.ContainsFunc(paths, func(path string) bool {
		content, _ := os.ReadFile(path)
		return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(string(content), word) })
	})
}

// KubeletUnit returns the systemd unit that runs kubelet.
func (n *Node) KubeletUnit() string {
	if len(n.Distributions) > 0 {
		return n.Distributions[0].Unit
	}
	return "kubelet"
}
