package clients

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// rancherDropIn is the file that Install creates for k3s and RKE2, in the folder of drop-ins.
const rancherDropIn = "99-image-cri-shim.yaml"

// findRancher finds k3s or RKE2. An argument of kubelet overrides the endpoint that the
// distribution passes to kubelet. The key container-runtime-endpoint also does so, but then
// the distribution does not start its containerd (k3s: startCRI in pkg/agent/run.go, which
// RKE2 uses too).
//
// The files of config.yaml.d are read after config.yaml, in the order of their names, and a key
// that ends in + adds to a list (k3s: readConfigFile in pkg/configfilearg).
func findRancher(root, name, server, agent string) Distribution {
	d := Distribution{Name: name, Unit: server, Runtime: "/run/k3s/containerd/containerd.sock"}
	units := make(map[string][]string)
	for _, unit := range []string{server, agent} {
		if found := unitFiles(root, unit); len(found) > 0 {
			d.Unit, units[unit] = unit, found
		}
	}
	base := rancherConfiguration(root, d.Unit, units[d.Unit])
	if base == "" {
		base = "/etc/rancher/" + strings.ToLower(name) + "/config.yaml"
	}
	d.manual = "create " + base + ".d/" + rancherDropIn + " with the line `kubelet-arg+: [\"container-runtime-endpoint=unix://%s\"]`" +
		" (arguments in the unit override it: if the unit has --kubelet-arg, add --kubelet-arg=container-runtime-endpoint=... there instead)"
	var configuration, dropIns []string
	own := ""
	if plainPath.MatchString(base) {
		configuration, dropIns = existing(filepath.Join(root, base)), rancherDropIns(filepath.Join(root, base+".d"))
		own = filepath.Join(root, base+".d", rancherDropIn)
	} else { // such as a URL, which k3s reads, too
		d.manual = "add the argument --kubelet-arg=container-runtime-endpoint=unix://%s to the unit, because its configuration " + strings.ReplaceAll(base, "%", "%%") + " can't be read here"
	}
	if len(configuration)+len(dropIns)+len(units) == 0 {
		return d
	}
	if usesDocker(append(slices.Clip(configuration), dropIns...), slices.Concat(units[server], units[agent])) {
		d.Runtime = "/run/k3s/cri-dockerd/cri-dockerd.sock" // k3s: applyCRIDockerdAddress
	}
	if own != "" && !slices.Contains(dropIns, own) {
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

// rancherDropIns returns the files of a folder of drop-ins that k3s reads (dotDFiles in
// pkg/configfilearg).
func rancherDropIns(folder string) (paths []string) {
	entries, _ := os.ReadDir(folder)
	for _, entry := range entries {
		if suffix := strings.ToLower(filepath.Ext(entry.Name())); !entry.IsDir() && (suffix == ".yaml" || suffix == ".yml") {
			paths = append(paths, filepath.Join(folder, entry.Name()))
		}
	}
	return paths
}

var (
	rancherFile     = regexp.MustCompile(`(?m)^\s*ExecStart=\S*(?:k3s|rke2)\s(?:.*?\s)?(?:--config|-c)(?:=|\s+)(\S+)`)
	rancherVariable = regexp.MustCompile(`(?m)^[^#;\n]*\b(?:K3S|RKE2)_CONFIG_FILE=\s*(\S+)`)
	rancherDocker   = regexp.MustCompile(`(?m)^\s*ExecStart=.*?\s--docker(?:=(\S+)|\s|$)`)
)

// rancherConfiguration returns the configuration file that a unit names, or "". A variable
// overrides the argument.
func rancherConfiguration(root, unit string, files []string) string {
	argument := lastMatch(files, rancherFile)
	for _, pattern := range []string{"etc/default/" + unit, "etc/sysconfig/" + unit} {
		files = append(files, existing(filepath.Join(root, pattern))...)
	}
	for _, path := range slices.Clone(files) { // the install scripts write these beside the unit
		if stem, ok := strings.CutSuffix(path, ".service"); ok {
			files = append(files, existing(path+".env", stem+".env")...)
		}
	}
	return cmp.Or(lastMatch(files, rancherVariable), argument)
}

// usesDocker reports whether the files or the units set the key or the argument docker.
func usesDocker(files, units []string) (uses bool) {
	for _, path := range files {
		content, _ := os.ReadFile(path)
		root, err := readMapping(string(content))
		if err != nil || root == nil {
			continue // the error is that of the file's format
		}
		for i := 0; i < len(root.Content); i += 2 {
			if root.Content[i].Value == "docker" {
				uses = isTrue(root.Content[i+1].Value)
			}
		}
	}
	for _, path := range units {
		if found := rancherDocker.FindStringSubmatch(unitText(path)); found != nil {
			uses = found[1] == "" || isTrue(found[1])
		}
	}
	return uses
}

// isTrue reports whether YAML 1.1 or the package flag reads a text as true.
func isTrue(text string) bool {
	return slices.Contains([]string{"true", "yes", "on", "y", "t", "1"}, strings.ToLower(text))
}

// lastMatch returns the first group of the last match in files, or "".
func lastMatch(files []string, expression *regexp.Regexp) (found string) {
	for _, path := range files {
		for _, match := range expression.FindAllStringSubmatch(unitText(path), -1) {
			found = match[1]
		}
	}
	return found
}

// unitText returns the content of a unit, with each command on one line and without quotes.
func unitText(path string) string {
	content, _ := os.ReadFile(path)
	return unitSpace.Replace(string(content))
}
