package clients

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Node names the configuration files and the sockets of a node.
type Node struct {
	Kubelet         string   // kubelet's configuration file
	KubeletDropIns  []string // drop-ins, which override that file
	KubeletInstance string   // file with settings that kubeadm copies into Kubelet at each upgrade
	KubeletFlags    []string // files with kubelet's flags, which override its configuration
	KubeletUnits    []string // systemd units with such flags, which are read but not edited
	Crictl          string   // crictl's configuration file; empty: none
	CreateCrictl    bool     // whether Install creates that file if it is missing
	Distributions   []Distribution
	Shim, Runtime   string   // paths of the sockets
	FormerShims     []string // sockets that the shim served before; their clients count as the shim's
	// SameSocket reports whether two paths name one socket.
	SameSocket func(a, b string) bool
}

// isShim reports whether a path names a socket of the shim.
func (n *Node) isShim(path string) bool {
	isSame := func(socket string) bool { return n.SameSocket(path, socket) }
	return isSame(n.Shim) || slices.ContainsFunc(n.FormerShims, isSame)
}

// plainPath matches paths that need no quotes in any of the files.
var plainPath = regexp.MustCompile(`^/[A-Za-z0-9/._+@-]+$`)

// Install plans the changes that point all clients at the shim. If a client uses a runtime
// other than the shim's, Install returns an error: the shim would move that client to another
// runtime. Nothing is written before [Change.Apply].
func (n *Node) Install() ([]Change, error) {
	if !plainPath.MatchString(n.Shim) {
		return nil, fmt.Errorf("the shim's socket %q has characters that need quotes: set `shim` to another path", n.Shim)
	}
	const crio = "run/crio/crio.sock"
	if filepath.Base(n.Runtime) == "crio.sock" && !strings.HasSuffix(n.Shim, crio) {
		return nil, fmt.Errorf("the runtime is CRI-O, which kubelet recognizes by an endpoint that ends in %s: set `shim` to a path that does, such as /run/image-cri-shim/%s", crio, crio)
	}
	return n.plan(n.clients(), n.install)
}

// Uninstall plans the changes that point all clients back at their endpoints from before
// Install, or at the runtime where these are unknown. A problem with crictl's file is not an
// error, but the Problem of its change.
func (n *Node) Uninstall() ([]Change, error) {
	uninstall := func(_ client, edits []*fileEdit) error {
		var problems []error
		for _, e := range edits {
			problems = append(problems, n.uninstall(e))
		}
		return errors.Join(problems...)
	}
	all := n.clients()
	last := len(all)
	if n.Crictl != "" {
		last--
	}
	changes, err := n.plan(all[:last], uninstall)
	crictl, problem := n.plan(all[last:], uninstall)
	if err != nil {
		return nil, errors.Join(err, problem)
	}
	if n.Crictl == "" {
		return changes, nil
	}
	if problem != nil {
		crictl = []Change{{Path: n.Crictl, Problem: problem}}
	}
	crictl[0].alone = true
	return append(changes, crictl...), nil
}

// plan edits the files of clients. Its error joins the errors of all of them.
func (n *Node) plan(all []client, edit func(client, []*fileEdit) error) (changes []Change, err error) {
	var problems []error
	for _, c := range all {
		edits, err := readFiles(c)
		if err == nil {
			err = edit(c, edits)
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		for _, e := range edits {
			changes = append(changes, e.change)
		}
	}
	return changes, errors.Join(problems...)
}

func (n *Node) install(c client, edits []*fileEdit) error {
	set := false
	var problems []error
	for _, e := range edits {
		original, unknown := n.original(e, "")
		if len(unknown) > 0 {
			original = e.content // it was pointed at the shim by hand: the former endpoint is unknown
		}
		if err := n.pointAtShim(e); err != nil {
			problems = append(problems, e.wrap(err))
			continue
		}
		if e.file.path != n.KubeletInstance { // which kubelet does not read
			set = set || slices.ContainsFunc(e.settings, func(s setting) bool { return !isImageKey(s.key) && s.endpoint != "" })
		}
		if e.change.after != e.content && !e.change.wasAbsent() {
			e.change.backupAfter = &original
		}
	}
	if c.distribution != nil {
		runtime, _ := effective(edits)
		set = runtime.Value != ""
	}
	switch first := edits[0]; {
	case set || len(problems) > 0:
	case c.distribution != nil:
		if d := *c.distribution; !n.SameSocket(d.Runtime, n.Runtime) || !add(edits, n.Shim) {
			problems = append(problems, n.unset(d))
		}
	case first.change.Missing && first.file.initial != "":
		first.create(n.Shim)
	case !first.change.Missing:
		problems = append(problems, first.wrap(n.addEndpoint(c, first)))
	}
	return errors.Join(problems...)
}

// pointAtShim replaces the endpoints that a file sets with the shim's.
func (n *Node) pointAtShim(e *fileEdit) error {
	for i := len(e.settings) - 1; i >= 0; i-- { // from the end, so that earlier offsets stay valid
		found := e.settings[i]
		switch path := socketPath(found.endpoint); {
		case found.endpoint == "" || n.SameSocket(path, n.Shim):
		case !n.SameSocket(path, n.Runtime) && !n.isShim(path):
			return lineError(found.line, found.key, fmt.Sprintf("found %s, expected the shim's own runtime unix://%s: %s", found.endpoint, n.Runtime, advice(found.key, path)))
		case e.file.unit != "":
			return lineError(found.line, found.key, fmt.Sprintf("is in a systemd unit, which is not edited: change %s to %s there, then run systemctl daemon-reload and systemctl restart %s",
				found.endpoint, unitEndpoint(found, n.Shim), e.file.unit))
		case e.file.readOnly:
			return lineError(found.line, found.key, "is in a systemd unit, which is not edited: move the flag to a file of kubelet's flags, or set it with systemctl edit kubelet")
		default:
			e.change.after = replace(e.change.after, found, quote(e.rawValue(found), "unix://"+n.Shim))
		}
	}
	return nil
}

// advice returns the next step for an endpoint that is not the runtime's.
func advice(key, path string) string {
	switch {
	case filepath.Base(path) == "dockershim.sock":
		return "this is the socket of dockershim, which Kubernetes 1.24 removed; set it to the runtime's socket, then install"
	case isImageKey(key):
		return "this is an image service apart from the runtime; remove the setting, or let the service use the shim as its runtime and have kubelet as its only client"
	}
	return "set `cri` to the intended runtime"
}

// isImageKey reports whether a key sets the endpoint of images only.
func isImageKey(key string) bool { return strings.Contains(strings.ToLower(key), "image") }

// unitEndpoint returns the value that points a setting of a unit at the shim.
func unitEndpoint(at setting, shim string) string {
	if at.key == "cri-socket" {
		return "remote:unix://" + shim
	}
	return "unix://" + shim
}

// addEndpoint adds the runtime's endpoint to a file. It is called if no file of the client sets
// one.
func (n *Node) addEndpoint(c client, e *fileEdit) error {
	if c.defaultRuntime != "" && !n.SameSocket(c.defaultRuntime, n.Runtime) {
		return lineError(1, e.file.key, fmt.Sprintf("is not set, so the client uses unix://%s instead of the shim's runtime unix://%s: set it first", c.defaultRuntime, n.Runtime))
	}
	endpoint := "unix://" + n.Shim
	if empty, ok := findSetting(e.settings, e.file.key); ok {
		e.change.after = replace(e.change.after, empty, quote(e.rawValue(empty), endpoint))
	} else {
		e.change.after = e.file.format.add(e.change.after, e.file.key, endpoint)
	}
	e.change.backupAfter = &e.content
	settings, err := e.file.format.find(e.change.after)
	if found, _ := findSetting(settings, e.file.key); err != nil || found.endpoint != endpoint {
		return errors.New("can't add a line for " + e.file.key + " at its end: add it by hand")
	}
	return nil
}

// socketPath returns the path of an endpoint, or "" if it has none.
func socketPath(endpoint string) string {
	endpoint = strings.TrimPrefix(endpoint, "remote:") // of k0s
	path := strings.TrimPrefix(strings.TrimPrefix(endpoint, "unix:"), "//")
	if !filepath.IsAbs(path) {
		return ""
	}
	return filepath.Clean(path)
}
