package clients

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Endpoint is an endpoint of kubelet, and the file that sets it.
type Endpoint struct{ File, Value string }

// Endpoints returns kubelet's endpoints of the runtime and of the image service. A value is
// empty if no file sets it.
func (d Distribution) Endpoints() (runtime, image Endpoint, err error) {
	edits, err := readFiles(d.client())
	runtime, image = effective(edits)
	return runtime, image, err
}

// effective returns the endpoints that kubelet gets. A later file overrides an earlier one, and
// kubelet-arg overrides the other key. It also removes all arguments of earlier files, unless a
// file appends to them with kubelet-arg+.
func effective(edits []*fileEdit) (runtime, image Endpoint) {
	var key, argument struct{ runtime, image Endpoint }
	for _, e := range edits {
		for _, s := range e.settings {
			value, target := Endpoint{e.file.path, strings.TrimPrefix(s.endpoint, "remote:")}, &key
			if strings.HasPrefix(s.key, "kubelet-arg") || e.file.unit != "" {
				target = &argument
			}
			switch {
			case s.key == argumentsKey:
				argument.runtime, argument.image = Endpoint{}, Endpoint{}
			case s.endpoint == "":
			case isImageKey(s.key):
				target.image = value
			default:
				target.runtime = value
			}
		}
	}
	return cmp.Or(argument.runtime, key.runtime), cmp.Or(argument.image, key.image)
}

// CanAdd reports whether Install adds the endpoint if no file sets one.
func (d Distribution) CanAdd() bool {
	edits, err := readFiles(d.client())
	return err == nil && add(edits, "/run/x.sock")
}

// add plans the file that adds the endpoint. It reports whether Install may create such a file and
// no other file overrides it.
func add(edits []*fileEdit, shim string) bool {
	at := slices.IndexFunc(edits, func(e *fileEdit) bool { return e.change.Missing && e.file.initial != "" })
	if at < 0 {
		return false
	}
	e := edits[at]
	e.create(shim)
	e.settings, _ = e.file.format.find(e.change.after) // without settings, it has no effect
	runtime, _ := effective(edits)
	return runtime.File == e.file.path
}

// unset returns the error for a distribution if none of its files sets an endpoint. The file that
// could set it does not exist, or is a unit.
func (n *Node) unset(d Distribution) error {
	if !n.SameSocket(d.Runtime, n.Runtime) {
		return fmt.Errorf("%s: no file sets kubelet's endpoint, so kubelet uses %s's own runtime unix://%s instead of the shim's runtime unix://%s: set `cri` to it first", d.Name, d.Name, d.Runtime, n.Runtime)
	}
	return fmt.Errorf("%s: no file sets kubelet's endpoint, or later arguments replace it, and install adds none: %s", d.Name, d.Manual(n.Shim))
}
