package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"image-cri-shim/config"
)

// kubelet says whether kubelet uses the shim: its flags count more than its file.
func kubelet(_ context.Context, n *node) []Finding {
	runtime := endpoint{file: n.Files.Kubelet}
	image := runtime
	found := false
	for i, file := range append([]string{n.Files.Kubelet}, n.Files.KubeletFlags...) {
		read := readKubelet
		if i > 0 {
			read = readKubeletFlags
		}
		settings, err := read(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return []Finding{unreadable(topic{"kubelet", file}, err)}
		}
		found = true
		runtime.set(file, settings.Runtime)
		image.set(file, settings.Image)
	}
	t := topic{"kubelet", runtime.file}
	switch {
	case !found:
		return []Finding{t.ok("has no configuration here")}
	case !n.isShim(runtime.value):
		return []Finding{t.fail(fmt.Sprintf("set containerRuntimeEndpoint: unix://%s, or the flag --container-runtime-endpoint, then restart kubelet", n.Settings.Shim),
			"its endpoint is %s, not the shim's", shown(runtime.value))}
	case image.value != "" && !n.isShim(image.value):
		return []Finding{topic{"kubelet", image.file}.fail("leave imageServiceEndpoint out, or set the shim's, then restart kubelet",
			"its endpoint for images is %s, not the shim's", shown(image.value))}
	}
	return []Finding{t.ok("uses the shim")}
}

// crictl says whether crictl uses the shim. What does not shows the names of the
// registries.
func crictl(_ context.Context, n *node) []Finding {
	t := topic{"crictl", n.Files.Crictl}
	settings, err := readCrictl(n.Files.Crictl)
	hint := fmt.Sprintf("set runtime-endpoint and image-endpoint: unix://%s", n.Settings.Shim)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Finding{t.ok("has no configuration here")}
	case err != nil:
		return []Finding{unreadable(t, err)}
	case !n.isShim(settings.Runtime):
		return []Finding{t.warn(hint, "its endpoint is %s, not the shim's", shown(settings.Runtime))}
	case settings.Image != "" && !n.isShim(settings.Image):
		return []Finding{t.warn(hint, "its endpoint for images is %s, not the shim's", shown(settings.Image))}
	}
	return []Finding{t.ok("uses the shim")}
}

// kubeadm says whether kubeadm pulls over the shim. What it has noted at the Node,
// which the cluster's API has, is not looked at.
func kubeadm(_ context.Context, n *node) []Finding {
	var findings []Finding
	for _, pattern := range n.Files.Kubeadm {
		files, err := filepath.Glob(pattern)
		if err != nil {
			findings = append(findings, topic{"kubeadm", pattern}.warn("mend the pattern", "%v", err))
		}
		for _, file := range files {
			t := topic{"kubeadm", file}
			sockets, err := readKubeadm(file)
			if err != nil {
				findings = append(findings, unreadable(t, err))
			}
			for _, socket := range sockets {
				if n.isShim(socket) {
					findings = append(findings, t.ok("uses the shim"))
					continue
				}
				findings = append(findings, t.warn(fmt.Sprintf("set criSocket: unix://%s there, and in the Node's annotation kubeadm.alpha.kubernetes.io/cri-socket where there is one", n.Settings.Shim),
					"its socket is %s, not the shim's", shown(socket)))
			}
		}
	}
	if len(findings) == 0 {
		return []Finding{topic{"kubeadm", strings.Join(n.Files.Kubeadm, " ")}.ok("no file names its socket")}
	}
	return findings
}

func unreadable(t topic, err error) Finding {
	hint := "mend the file"
	if errors.Is(err, fs.ErrPermission) {
		hint = asRoot
	}
	return t.warn(hint, "can't be looked at: %v", err)
}

// endpoint is a setting and the file it is from.
type endpoint struct{ file, value string }

func (e *endpoint) set(file, value string) {
	if value != "" {
		e.file, e.value = file, value
	}
}

// isShim tells whether an endpoint is the shim's socket.
func (n *node) isShim(endpoint string) bool {
	path, isURL := strings.CutPrefix(endpoint, "unix:")
	if rest, ok := strings.CutPrefix(path, "//"); isURL && ok {
		path = rest
	}
	return filepath.IsAbs(path) && config.SameSocket(filepath.Clean(path), n.Settings.Shim)
}

func shown(endpoint string) string {
	if endpoint == "" {
		return "not set"
	}
	return fmt.Sprintf("%.200q", endpoint)
}
