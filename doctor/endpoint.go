package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"image-cri-shim/config"
	"image-cri-shim/unixsocket"
)

// checkKubelet reports whether kubelet uses the shim. Drop-ins override kubelet's
// configuration, and flags override both.
func checkKubelet(_ context.Context, n *node) []Finding {
	runtime := endpointSetting{file: n.Files.Kubelet[0]}
	image := runtime
	found := false
	for i, file := range slices.Concat(n.Files.Kubelet, n.Files.KubeletFlags) {
		read := readKubelet
		if i >= len(n.Files.Kubelet) {
			read = readKubeletFlags
		}
		settings, err := read(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return []Finding{unreadableFinding(topic{"kubelet", file}, err)}
		}
		found = true
		runtime.set(file, settings.Runtime)
		image.set(file, settings.Image)
	}
	t := topic{"kubelet", runtime.file}
	hint := fmt.Sprintf("set containerRuntimeEndpoint: unix://%s, or the flag --container-runtime-endpoint, then restart kubelet: `systemctl restart kubelet`", n.Settings.Shim)
	switch {
	case !found && len(n.Files.Distributions) > 0:
		return nil // reported by checkDistributions
	case !found:
		return []Finding{n.noKubeletFinding(t)}
	case isDockershim(runtime.value):
		return []Finding{t.fail(hint+"; remove dockershim flags such as --container-runtime and --network-plugin", "%s", t.endpointText(runtime.value))}
	case runtime.value != "" && !n.isShim(runtime.value) && slices.Contains(n.Files.KubeletFlags, runtime.file) && isUnit(runtime.file):
		return []Finding{t.fail(n.unitHint(runtime.file, "kubelet"), "%s", t.endpointText(runtime.value))}
	case n.canInstall(cmp.Or(runtime.value, kubeletDefault)):
		return []Finding{t.fail(n.installHint()+", then `systemctl restart kubelet`", "%s", t.endpointText(runtime.value))}
	case !n.isShim(runtime.value):
		return []Finding{t.fail(hint, "%s", t.endpointText(runtime.value))}
	case image.value != "" && !n.isShim(image.value):
		return []Finding{n.imageService(topic{"kubelet", image.file}, image.value).finding(Fail, "remove imageServiceEndpoint, then restart kubelet: `systemctl restart kubelet`")}
	}
	return []Finding{t.ok(usesShim)}
}

// usesShim is the text if a client's configuration names the shim's socket.
const usesShim = "uses the shim"

// kubeletDefault is the endpoint that kubelet uses if none is set.
const kubeletDefault = "unix:///run/containerd/containerd.sock"

// isUnit reports whether a file is a systemd unit or a drop-in of one, which the command install
// does not edit.
func isUnit(file string) bool {
	return slices.Contains([]string{".service", ".conf"}, filepath.Ext(file))
}

// unitHint returns the remedy for an endpoint in a unit. k0s has another prefix than unix://.
func (n *node) unitHint(file, unit string) string {
	return fmt.Sprintf("change the path of the endpoint to %s in %s, then `systemctl daemon-reload` and `systemctl restart %s`", n.Settings.Shim, file, unit)
}

// canInstall reports whether the command install replaces an endpoint: it edits only a file
// without one, or with the runtime's.
func (n *node) canInstall(endpoint string) bool {
	return !n.isShim(endpoint) && (endpoint == "" || n.isSocket(endpoint, n.Settings.Runtime))
}

// installHint returns the remedy that points the clients at the shim. install gets the files that
// the user named to the doctor.
func (n *node) installHint() string {
	command := "image-cri-shim install"
	if n.File != config.DefaultFile {
		command += " --file " + n.File
	}
	if n.Files.KubeletNamed {
		command += " --kubelet-config " + n.Files.Kubelet[0]
	}
	if n.Files.Crictl != "" && n.Files.Crictl != defaultCrictl {
		command += " --crictl-config " + n.Files.Crictl
	}
	return "`" + command + "`"
}

// defaultCrictl is crictl's configuration file without --crictl-config.
const defaultCrictl = "/etc/crictl.yaml"

// endpointText describes a client's endpoint that is not the shim's.
func (t topic) endpointText(endpoint string) string {
	switch {
	case endpoint == "":
		return "no endpoint is set"
	case isDockershim(endpoint):
		return fmt.Sprintf("%s's endpoint is %s, but kubelet 1.24 removed dockershim", t.check, quoteEndpoint(endpoint))
	}
	return fmt.Sprintf("%s's endpoint is %s, not the shim's", t.check, quoteEndpoint(endpoint))
}

// isDockershim reports whether an endpoint is dockershim's, which kubelet 1.24 removed.
func isDockershim(endpoint string) bool { return strings.HasSuffix(endpoint, "/dockershim.sock") }

// imageService is an image endpoint that is not the shim's socket.
type imageService struct {
	topic
	endpoint string
	proxy    bool // neither the runtime nor dockershim
}

func (n *node) imageService(t topic, endpoint string) imageService {
	return imageService{t, endpoint, !isDockershim(endpoint) && !n.isSocket(endpoint, n.Settings.Runtime)}
}

func (s imageService) finding(level Level, hint string) Finding {
	text := "%s's image endpoint is %s, not the shim's"
	if s.proxy {
		text += ": pulls go to an image proxy, not to the shim"
		hint += "; to keep the proxy, make the proxy use the shim's socket as its runtime (stargz: image_service_path)"
	}
	return s.topic.finding(level, hint, text, []any{s.check, quoteEndpoint(s.endpoint)})
}

// checkCrictl reports whether crictl uses the shim. Otherwise crictl calls the runtime
// directly: its pulls bypass the shim, and it shows the registry's names of images whose
// names are in the ledger.
func checkCrictl(_ context.Context, n *node) []Finding {
	t := topic{"crictl", n.Files.Crictl}
	settings, err := readCrictl(n.Files.Crictl)
	hint := fmt.Sprintf("set runtime-endpoint: unix://%s and image-endpoint: unix://%s", n.Settings.Shim, n.Settings.Shim)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !HasProgram("crictl"):
		return []Finding{t.ok("no configuration file, and no crictl in PATH")}
	case errors.Is(err, fs.ErrNotExist):
		command := writeCommand(n.Files.Crictl, "runtime-endpoint: unix://"+n.Settings.Shim, "image-endpoint: unix://"+n.Settings.Shim)
		return []Finding{t.warn("write the file: `"+command+"`",
			"crictl has no configuration file: it tries the runtimes' own sockets, and its pulls bypass the shim")}
	case err != nil:
		return []Finding{unreadableFinding(t, err)}
	case n.canInstall(settings.Runtime) && (settings.Image == "" || n.isShim(settings.Image) || n.canInstall(settings.Image)):
		return []Finding{t.warn(n.installHint(), "%s", t.endpointText(settings.Runtime))}
	case !n.isShim(settings.Runtime):
		return []Finding{t.warn(hint, "%s", t.endpointText(settings.Runtime))}
	case settings.Image != "" && !n.isShim(settings.Image):
		return []Finding{n.imageService(t, settings.Image).finding(Warn, hint)}
	}
	return []Finding{t.ok(usesShim)}
}

// HasProgram reports whether a program is in PATH or in one of the usual folders, which
// sudo's PATH may not contain.
func HasProgram(name string) bool {
	if _, err := exec.LookPath(name); err == nil {
		return true
	}
	_, err := exec.LookPath(filepath.Join("/usr/local/bin", name))
	return err == nil
}

// checkKubeadm reports whether kubeadm pulls through the shim. It does not check the
// annotation of the Node, which is stored in the cluster's API.
func checkKubeadm(_ context.Context, n *node) []Finding {
	var findings []Finding
	for _, pattern := range n.Files.Kubeadm {
		files, err := filepath.Glob(pattern)
		if err != nil {
			findings = append(findings, topic{"kubeadm", pattern}.warn("correct the pattern in --kubeadm-config", "%v", err))
		}
		for _, file := range files {
			t := topic{"kubeadm", file}
			sockets, err := readKubeadm(file)
			if err != nil {
				findings = append(findings, unreadableFinding(t, err))
			}
			for _, socket := range sockets {
				if n.isShim(socket) {
					findings = append(findings, t.ok(usesShim))
					continue
				}
				text := "the CRI socket is %s, not the shim's"
				if isDockershim(socket) {
					text = "the CRI socket is %s, but kubelet 1.24 removed dockershim"
				}
				key := "criSocket"
				if filepath.Base(file) == "instance-config.yaml" { // a KubeletConfiguration (kubeadm 1.34)
					key = "containerRuntimeEndpoint"
				}
				findings = append(findings, t.warn(fmt.Sprintf("set %s: unix://%s in the file, and in the annotation kubeadm.alpha.kubernetes.io/cri-socket if the Node has it", key, n.Settings.Shim),
					text, quoteEndpoint(socket)))
			}
		}
	}
	if len(findings) == 0 {
		return []Finding{topic{"kubeadm", strings.Join(n.Files.Kubeadm, " ")}.ok("no file sets a CRI socket")}
	}
	return findings
}

// unreadableFinding is the finding if the file that sets an endpoint can't be read.
func unreadableFinding(t topic, err error) Finding {
	hint := "correct the file"
	if errors.Is(err, fs.ErrPermission) {
		hint = rootHint
	}
	return t.warn(hint, "the endpoint can't be checked: %v", err)
}

// endpointSetting is the value of an endpoint and the file that sets it.
type endpointSetting struct{ file, value string }

func (e *endpointSetting) set(file, value string) {
	if value != "" {
		e.file, e.value = file, value
	}
}

// isShim reports whether an endpoint is the shim's socket.
func (n *node) isShim(endpoint string) bool { return n.isSocket(endpoint, n.Settings.Shim) }

func (n *node) isSocket(endpoint, socket string) bool {
	path, isURL := strings.CutPrefix(endpoint, "unix:")
	if rest, ok := strings.CutPrefix(path, "//"); isURL && ok {
		path = rest
	}
	return filepath.IsAbs(path) && unixsocket.Same(filepath.Clean(path), socket)
}

func quoteEndpoint(endpoint string) string { return fmt.Sprintf("%.200q", endpoint) }
