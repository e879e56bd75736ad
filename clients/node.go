package clients

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// Node says where a node's files are, and which sockets it has.
type Node struct {
	Kubelet         string   // kubelet's configuration file
	KubeletDropIns  []string // more of it, which count more than that file
	KubeletInstance string   // what kubeadm puts into that file at each upgrade
	KubeletFlags    []string // kubelet's flags, which count more than its configuration
	KubeletUnits    []string // units of systemd with such flags, which are read and not edited
	Crictl          string   // crictl's configuration file
	Shim, Runtime   string   // the sockets' paths
	// SameSocket reports whether two paths name one socket.
	SameSocket func(a, b string) bool
}

// plainPath matches paths that need no quotes in any of the files.
var plainPath = regexp.MustCompile(`^/[A-Za-z0-9/._+@-]+$`)

// Install plans what points all clients at the shim. Where one of them is
// pointed at anything but the shim's own runtime it refuses: the shim would give
// that client another runtime. Nothing is written before Change.Apply.
func (n *Node) Install() ([]Change, error) {
	if !plainPath.MatchString(n.Shim) {
		return nil, fmt.Errorf("the shim's socket %q has characters that would need quotes: set another one as `shim`", n.Shim)
	}
	const crio = "run/crio/crio.sock"
	if filepath.Base(n.Runtime) == "crio.sock" && !strings.HasSuffix(n.Shim, crio) {
		return nil, fmt.Errorf("the runtime is CRI-O, and kubelet knows it by an endpoint that ends in %s: set `shim` to a path that does, such as /run/image-cri-shim/%s", crio, crio)
	}
	return n.plan(n.install)
}

// Uninstall plans what points all clients back at what they used before Install.
func (n *Node) Uninstall() ([]Change, error) {
	return n.plan(func(_ client, edits []*fileEdit) error {
		var problems []error
		for _, e := range edits {
			problems = append(problems, n.uninstall(e))
		}
		return errors.Join(problems...)
	})
}

// plan edits every client's files, and reports all that stands against it.
func (n *Node) plan(edit func(client, []*fileEdit) error) (changes []Change, err error) {
	var problems []error
	for _, c := range []client{n.kubelet(), n.crictl()} {
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
		original, err := n.original(e)
		if err != nil {
			original = e.content // it was pointed at the shim by hand: the way back of that isn't known
		}
		if err := n.pointAtShim(e); err != nil {
			problems = append(problems, e.wrap(err))
			continue
		}
		if found, ok := findSetting(e.settings, e.file.key); ok && found.endpoint != "" {
			set = true
		}
		if e.change.after != e.content {
			e.change.backupAfter = &original
		}
	}
	if first := edits[0]; !set && !first.change.Missing && len(problems) == 0 {
		problems = append(problems, first.wrap(n.addEndpoint(c, first)))
	}
	return errors.Join(problems...)
}

// pointAtShim replaces the endpoints that a file sets by the shim's.
func (n *Node) pointAtShim(e *fileEdit) error {
	for i := len(e.settings) - 1; i >= 0; i-- { // from the end, where the places before stay
		found := e.settings[i]
		switch path := socketPath(found.endpoint); {
		case found.endpoint == "" || n.SameSocket(path, n.Shim):
		case !n.SameSocket(path, n.Runtime):
			return lineError(found.line, found.key, fmt.Sprintf("found %s, expected the shim's own runtime unix://%s: %s", found.endpoint, n.Runtime, advice(found.key, path)))
		case e.file.readOnly:
			return lineError(found.line, found.key, "is in a unit, which is not edited: move the flag to a file of kubelet's flags, or set it with systemctl edit kubelet")
		default:
			e.change.after = replace(e.change.after, found, quote(e.rawValue(found), "unix://"+n.Shim))
		}
	}
	return nil
}

// advice is what to do about an endpoint that is not the runtime's.
func advice(key, path string) string {
	switch {
	case filepath.Base(path) == "dockershim.sock":
		return "dockershim, whose socket this was, left kubelet in Kubernetes 1.24; name the runtime's socket there, then install"
	case strings.HasPrefix(strings.ToLower(key), "image"):
		return "this is an image service beside the runtime; leave it out, or let it use the shim as its runtime and kubelet as its only client"
	}
	return "set `cri` to the one that is meant"
}

// addEndpoint sets the runtime's endpoint if no file does.
func (n *Node) addEndpoint(c client, e *fileEdit) error {
	if c.defaultRuntime != "" && !n.SameSocket(c.defaultRuntime, n.Runtime) {
		return lineError(1, e.file.key, fmt.Sprintf("is not set, so that unix://%s is used and not the shim's runtime unix://%s: set it first", c.defaultRuntime, n.Runtime))
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
		return errors.New("a line for " + e.file.key + " can't be added at its end: add it by hand")
	}
	return nil
}

func (n *Node) uninstall(e *fileEdit) error {
	original, err := n.original(e)
	if err != nil {
		return e.wrap(err)
	}
	e.change.after, e.change.backupAfter = original, nil
	return nil
}

// original returns the content of a file with the endpoints of its backup in place of the
// shim's.
func (n *Node) original(e *fileEdit) (string, error) {
	content := e.content
	for i := len(e.settings) - 1; i >= 0; i-- {
		found := e.settings[i]
		if found.endpoint == "" || !n.SameSocket(socketPath(found.endpoint), n.Shim) {
			continue
		}
		if e.change.backup == nil {
			return "", lineError(found.line, found.key, "points at the shim, and there is no "+e.change.backupPath()+" to tell what it was before: set it by hand")
		}
		settings, err := e.file.format.find(*e.change.backup)
		if err != nil {
			return "", fmt.Errorf("its backup: %w", err)
		}
		switch old, ok := findSetting(settings, found.key); {
		case !ok && found.fullRange == [2]int{}:
			return "", lineError(found.line, found.key, "points at the shim, and was not there before: remove it by hand")
		case !ok:
			content = content[:found.fullRange[0]] + content[found.fullRange[1]:]
		case n.SameSocket(socketPath(old.endpoint), n.Shim):
			return "", lineError(found.line, found.key, "points at the shim, and did so before: set it by hand")
		default:
			content = replace(content, found, (*e.change.backup)[old.start:old.end])
		}
	}
	return content, nil
}

// socketPath returns the path of an endpoint, empty if it has none.
func socketPath(endpoint string) string {
	path := strings.TrimPrefix(strings.TrimPrefix(endpoint, "unix:"), "//")
	if !filepath.IsAbs(path) {
		return ""
	}
	return filepath.Clean(path)
}
