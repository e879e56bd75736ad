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
	// Same tells whether two paths are one socket.
	Same func(a, b string) bool
}

// plain are the paths that need no quotes in any of the files.
var plain = regexp.MustCompile(`^/[A-Za-z0-9/._+@-]+$`)

// Install plans what points all clients at the shim. Where one of them is
// pointed at anything but the shim's own runtime it refuses: the shim would give
// that client another runtime. Nothing is written before Change.Apply.
func (n *Node) Install() ([]Change, error) {
	if !plain.MatchString(n.Shim) {
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
	return n.plan(func(_ client, states []*state) error {
		var problems []error
		for _, s := range states {
			problems = append(problems, n.uninstall(s))
		}
		return errors.Join(problems...)
	})
}

// plan edits every client's files, and reports all that stands against it.
func (n *Node) plan(edit func(client, []*state) error) (changes []Change, err error) {
	var problems []error
	for _, c := range []client{n.kubelet(), n.crictl()} {
		states, err := read(c)
		if err == nil {
			err = edit(c, states)
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		for _, s := range states {
			changes = append(changes, s.change)
		}
	}
	return changes, errors.Join(problems...)
}

func (n *Node) install(c client, states []*state) error {
	set := false
	var problems []error
	for _, s := range states {
		original, err := n.original(s)
		if err != nil {
			original = s.content // it was pointed at the shim by hand: the way back of that isn't known
		}
		if err := n.point(s); err != nil {
			problems = append(problems, s.problem(err))
			continue
		}
		if found, ok := find(s.settings, s.file.key); ok && found.endpoint != "" {
			set = true
		}
		if s.change.after != s.content {
			s.change.backupAfter = &original
		}
	}
	if first := states[0]; !set && !first.change.Missing && len(problems) == 0 {
		problems = append(problems, first.problem(n.add(c, first)))
	}
	return errors.Join(problems...)
}

// point replaces the endpoints that a file sets.
func (n *Node) point(s *state) error {
	for i := len(s.settings) - 1; i >= 0; i-- { // from the end, where the places before stay
		found := s.settings[i]
		switch path := socket(found.endpoint); {
		case found.endpoint == "" || n.Same(path, n.Shim):
		case !n.Same(path, n.Runtime):
			return at(found.line, found.key, fmt.Sprintf("found %s, expected the shim's own runtime unix://%s: %s", found.endpoint, n.Runtime, advice(found.key, path)))
		case s.file.readOnly:
			return at(found.line, found.key, "is in a unit, which is not edited: move the flag to a file of kubelet's flags, or set it with systemctl edit kubelet")
		default:
			s.change.after = replace(s.change.after, found, quote(s.text(found), "unix://"+n.Shim))
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

// add sets the runtime's endpoint where no file does.
func (n *Node) add(c client, s *state) error {
	if c.usual != "" && !n.Same(c.usual, n.Runtime) {
		return at(1, s.file.key, fmt.Sprintf("is not set, so that unix://%s is used and not the shim's runtime unix://%s: set it first", c.usual, n.Runtime))
	}
	endpoint := "unix://" + n.Shim
	if empty, ok := find(s.settings, s.file.key); ok {
		s.change.after = replace(s.change.after, empty, quote(s.text(empty), endpoint))
	} else {
		s.change.after = s.file.format.add(s.change.after, s.file.key, endpoint)
	}
	s.change.backupAfter = &s.content
	settings, err := s.file.format.find(s.change.after)
	if found, _ := find(settings, s.file.key); err != nil || found.endpoint != endpoint {
		return errors.New("a line for " + s.file.key + " can't be added at its end: add it by hand")
	}
	return nil
}

func (n *Node) uninstall(s *state) error {
	original, err := n.original(s)
	if err != nil {
		return s.problem(err)
	}
	s.change.after, s.change.backupAfter = original, nil
	return nil
}

// original is the file with what points at the shim as it was before.
func (n *Node) original(s *state) (string, error) {
	content := s.content
	for i := len(s.settings) - 1; i >= 0; i-- {
		found := s.settings[i]
		if found.endpoint == "" || !n.Same(socket(found.endpoint), n.Shim) {
			continue
		}
		if s.change.backup == nil {
			return "", at(found.line, found.key, "points at the shim, and there is no "+s.change.backupPath()+" to tell what it was before: set it by hand")
		}
		settings, err := s.file.format.find(*s.change.backup)
		if err != nil {
			return "", fmt.Errorf("its backup: %w", err)
		}
		switch old, ok := find(settings, found.key); {
		case !ok && found.whole == [2]int{}:
			return "", at(found.line, found.key, "points at the shim, and was not there before: remove it by hand")
		case !ok:
			content = content[:found.whole[0]] + content[found.whole[1]:]
		case n.Same(socket(old.endpoint), n.Shim):
			return "", at(found.line, found.key, "points at the shim, and did so before: set it by hand")
		default:
			content = replace(content, found, (*s.change.backup)[old.start:old.end])
		}
	}
	return content, nil
}

// socket is the path of an endpoint, empty where it has none.
func socket(endpoint string) string {
	path := strings.TrimPrefix(strings.TrimPrefix(endpoint, "unix:"), "//")
	if !filepath.IsAbs(path) {
		return ""
	}
	return filepath.Clean(path)
}
