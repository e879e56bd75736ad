package bed

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// emptied are the folders in which a node has only its own files, and none of this machine's.
var emptied = []string{
	"etc/systemd/system", "etc/containerd", "etc/kubernetes", "etc/cni", "opt",
	"var/lib/kubelet", "var/lib/containerd", "var/lib/cni", "var/log/journal",
}

// hidden are the files and folders of this machine that a node does not have.
var hidden = []string{
	"etc/image-cri-shim", "etc/image-cri-shim.yaml", "usr/bin/image-cri-shim",
	"var/lib/image-cri-shim", "var/lib/image-cri-shim-agent",
}

// kubelet's unit and drop-in are those of the packages of Kubernetes, and its configuration
// files are as kubeadm 1.37 writes them, with the settings that a node of the bed needs.
const (
	kubeletUnit = `[Unit]
Description=kubelet: The Kubernetes Node Agent
Documentation=https://kubernetes.io/docs/
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10

[Install]
WantedBy=multi-user.target
`
	kubeadmDropIn = `# Note: This dropin only works with kubeadm and kubelet v1.11+
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
# This is a file that "kubeadm init" and "kubeadm join" generates at runtime, populating the KUBELET_KUBEADM_ARGS variable dynamically
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
# This is a file that the user can use for overrides of the kubelet args as a last resort. Preferably, the user should use
# the .NodeRegistration.KubeletExtraArgs object in the configuration files instead. KUBELET_EXTRA_ARGS should be sourced from this file.
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
`
	kubeadmFlags   = "KUBELET_KUBEADM_ARGS=\"--hostname-override=%s --node-ip=%s\"\n"
	instanceConfig = "containerRuntimeEndpoint: \"" + endpoint + "\"\n"
	kubeletConfig  = `apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  anonymous:
    enabled: false
  webhook:
    cacheTTL: 0s
    enabled: true
  x509:
    clientCAFile: /etc/kubernetes/pki/ca.crt
authorization:
  mode: Webhook
  webhook:
    cacheAuthorizedTTL: 0s
    cacheUnauthorizedTTL: 0s
cgroupDriver: cgroupfs
clusterDomain: cluster.local
containerRuntimeEndpoint: ` + endpoint + `
enforceNodeAllocatable: []
evictionHard:
  imagefs.available: 1Mi
  memory.available: 10Mi
  nodefs.available: 1Mi
  nodefs.inodesFree: "10"
failCgroupV1: false
failSwapOn: false
healthzBindAddress: 127.0.0.1
healthzPort: 10248
imageGCHighThresholdPercent: 100
kind: KubeletConfiguration
localStorageCapacityIsolation: false
makeIPTablesUtilChains: false
resolvConf: ""
rotateCertificates: false
staticPodPath: /etc/kubernetes/manifests
`
	endpoint = "unix:///var/run/containerd/containerd.sock"
)

// containerdConfig leads pulls to the folders of hosts below. containerd may not lower its
// OOM score in the control groups of a node.
const containerdConfig = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + sandboxImage + `"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
`

// hostsConfig leads a registry to an address.
const hostsConfig = "server = \"http://%[1]s\"\n[host.\"http://%[1]s\"]\n  capabilities = [\"pull\", \"resolve\"]\n"

const networkConfig = `{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "cni0", "isGateway": true,
  "ipam": {"type": "host-local", "ranges": [[{"subnet": "%s"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
`

// nowhere is an address that refuses connections.
const nowhere = "127.0.0.1:1"

// writeFiles writes the node's own files.
func (n *Node) writeFiles(authority *authority) error {
	for _, folder := range emptied {
		if err := n.empty(folder); err != nil {
			return err
		}
	}
	for _, path := range hidden {
		if err := n.hide(path); err != nil {
			return err
		}
	}
	machineID := make([]byte, 16)
	_, _ = rand.Read(machineID) // never fails
	files := map[string]string{
		"etc/hostname":                n.Name + "\n",
		"etc/hosts":                   "127.0.0.1 localhost " + n.Name + "\n",
		"etc/machine-id":              hex.EncodeToString(machineID) + "\n",
		"etc/resolv.conf":             "",
		"etc/crictl.yaml":             "runtime-endpoint: " + endpoint + "\nimage-endpoint: " + endpoint + "\n",
		"etc/containerd/config.toml":  containerdConfig,
		"etc/cni/net.d/10.conflist":   fmt.Sprintf(networkConfig, n.podNetwork()),
		"var/lib/kubelet/config.yaml": kubeletConfig,
		"usr/bin/kubelet":             "", // the binary is mounted over it
		"etc/containerd/certs.d/" + RegistryHost + "/hosts.toml":   fmt.Sprintf(hostsConfig, RegistryHost),
		"etc/containerd/certs.d/_default/hosts.toml":               fmt.Sprintf(hostsConfig, nowhere),
		"usr/lib/systemd/system/kubelet.service":                   kubeletUnit,
		"usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf": kubeadmDropIn,
		"var/lib/kubelet/instance-config.yaml":                     instanceConfig,
		"var/lib/kubelet/kubeadm-flags.env":                        fmt.Sprintf(kubeadmFlags, n.Name, n.Address()),
	}
	for path, content := range files {
		if err := n.write(path, content); err != nil {
			return err
		}
	}
	for _, unit := range []string{"kubelet", "containerd"} {
		if err := n.link("/lib/systemd/system/"+unit+".service", "multi-user.target.wants/"+unit+".service"); err != nil {
			return err
		}
	}
	for _, unit := range []string{"getty.target", "systemd-logind.service", "systemd-sysctl.service", "systemd-firstboot.service"} {
		if err := n.link(os.DevNull, unit); err != nil {
			return err
		}
	}
	ca, err := os.ReadFile(authority.file("ca.crt"))
	if err != nil {
		return err
	}
	return errors.Join(
		n.write("etc/kubernetes/pki/ca.crt", string(ca)),
		os.Mkdir(n.change("etc/kubernetes/manifests"), 0o755),
		authority.kubeconfig(n.change("etc/kubernetes/kubelet.conf"), identity{"system:node:" + n.Name, "system:nodes"}),
	)
}

// change returns the path of a file of the node among its changes to this machine's files.
func (n *Node) change(path string) string { return filepath.Join(n.folder, "changes", path) }

func (n *Node) write(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(n.change(path)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(n.change(path), []byte(content), 0o644)
}

// link creates a symbolic link among the units of the node.
func (n *Node) link(target, name string) error {
	path := n.change("etc/systemd/system/" + name)
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(target, path))
}

// empty creates a folder that hides the files of this machine in it.
func (n *Node) empty(folder string) error {
	if err := os.MkdirAll(n.change(folder), 0o755); err != nil {
		return err
	}
	return unix.Setxattr(n.change(folder), opaque, []byte("y"), 0)
}

// hide deletes a file or folder of this machine on the node.
func (n *Node) hide(path string) error {
	if _, err := os.Lstat("/" + path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(
		os.MkdirAll(filepath.Dir(n.change(path)), 0o755),
		unix.Mknod(n.change(path), unix.S_IFCHR, 0),
	)
}

// opaque is the extended attribute by which an overlay hides a lower folder.
const opaque = "trusted.overlay.opaque"

// RewriteKubelet writes kubelet's configuration again as kubeadm upgrade does on the running
// node.
func (n *Node) RewriteKubelet() error {
	for file, content := range map[string]string{
		"/var/lib/kubelet/config.yaml":          kubeletConfig,
		"/var/lib/kubelet/instance-config.yaml": instanceConfig,
		"/var/lib/kubelet/kubeadm-flags.env":    fmt.Sprintf(kubeadmFlags, n.Name, n.Address()),
	} {
		if err := os.WriteFile(n.Path(file), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
