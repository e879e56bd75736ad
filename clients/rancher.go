package clients

import (
	"path/filepath"
	"slices"
	"strings"
)

// rancherDropIn is the file that Install creates for k3s and RKE2, in the folder of their
// configuration.
const rancherDropIn = "config.yaml.d/99-image-cri-shim.yaml"

// findRancher finds k3s or RKE2. An argument of kubelet overrides the endpoint that the
// distribution passes to kubelet. The key container-runtime-endpoint also does so, but then
// the distribution does not start its containerd (k3s: startCRI in pkg/agent/run.go, which
// RKE2 uses too).
//
// The files of config.yaml.d are read after config.yaml, in the order of their names, and a key
// that ends in + adds to a list (k3s: readConfigFile in pkg/configfilearg).
func findRancher(root, name, server, agent string) Distribution {
	folder := "/etc/rancher/" + strings.ToLower(name)
	d := Distribution{
		Name: name, Unit: server, Runtime: "/run/k3s/containerd/containerd.sock",
		manual: "create " + folder + "/" + rancherDropIn + " with the line `kubelet-arg+: [\"container-runtime-endpoint=unix://%s\"]`" +
			" (arguments in the unit override it: if the unit has --kubelet-arg, add --kubelet-arg=container-runtime-endpoint=... there instead)",
	}
	configuration := existing(filepath.Join(root, folder, "config.yaml"))
	dropIns := existing(filepath.Join(root, folder, "config.yaml.d/*.yaml"), filepath.Join(root, folder, "config.yaml.d/*.yml"))
	units := make(map[string][]string)
	for _, unit := range []string{server, agent} {
		if found := unitFiles(root, unit); len(found) > 0 {
			d.Unit, units[unit] = unit, found
		}
	}
	if len(configuration)+len(dropIns)+len(units) == 0 {
		return d
	}
	if contain(slices.Concat(configuration, dropIns, units[server], units[agent]), "--docker", "docker: true") {
		d.Runtime = "/run/k3s/cri-dockerd/cri-dockerd.sock" // k3s: applyCRIDockerdAddress
	}
	own := filepath.Join(root, folder, rancherDropIn)
	if !slices.Contains(dropIns, own) {
		dropIns = append(dropIns, own)
	}
	slices.Sort(dropIns)
	for _, path := range append(configuration, dropIns...) {
		f := file{path: path, format: rancherFormat}
		if path == own {
			f.initial = "kubelet-arg+: [\"container-runtime-endpoint=unix://%[1]s\"]\n"
		}
		d.files = append(d.files, f)
	}
	for _, unit := range []string{server, agent} {
		for _, path := range units[unit] {
			d.files = append(d.files, file{path: path, format: unitFormat, readOnly: true, unit: unit})
		}
	}
	return d
}
