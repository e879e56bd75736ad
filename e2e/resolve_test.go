package e2e

import (
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// resolved is the part of the resolve command's output for one image that the tests
// read.
type resolved struct {
	Image, Pulled, Registry string
	Registries              []struct {
		Registry, Rule, Answer, Circuit string
		Cached                          bool
	}
	Node struct {
		Problem, Served, Registry string
		Names                     struct{ Mode, Reason string }
		Ledger                    *struct{ Image, Stored string }
		Runtime                   []struct {
			Reference, Image string
			Hidden           bool
		}
	}
}

func (n *node) resolve(t *testing.T, arguments ...string) []resolved {
	t.Helper()
	output, err := n.shim.Command(testContext(t), append([]string{"resolve", "--output", "json"}, arguments...)...)
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatalf("resolve %s: %v", arguments, err)
	}
	if strings.Contains(string(output), privatePassword) {
		t.Error("resolve prints a password")
	}
	var images []resolved
	if err := json.Unmarshal(output, &images); err != nil {
		t.Fatalf("resolve %s: %v in %s", arguments, err, output)
	}
	return images
}

// TestResolve requires the resolve command to explain a pull: with a running shim from its
// ledger, its cache and the runtime, and with a stopped shim from its files.
func TestResolve(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, runtime runtime) {
		n := newNode(t, runtime, privateConfiguration()+namesInLedger)
		id := n.pull(t, n.through, "nginx:1.25", nil)
		stored := shared.private.Host() + "/library/nginx:1.25"
		check := func(image resolved, cached bool) {
			t.Helper()
			if r := image.Registries[0]; image.Pulled != stored || r.Answer != "found" || r.Cached != cached || r.Rule != "all images" || r.Circuit != "closed" {
				t.Errorf("registries: %+v", image)
			}
			l := image.Node.Ledger
			if image.Node.Problem != "" || image.Node.Registry != shared.private.Address() || l == nil || l.Image != id || l.Stored != stored {
				t.Errorf("node: %+v", image.Node)
			}
			hidden := false
			for _, p := range image.Node.Runtime {
				hidden = hidden || p.Reference == stored && p.Image == id && p.Hidden
			}
			if !hidden {
				t.Errorf("the runtime does not show %s as hidden: %+v", stored, image.Node.Runtime)
			}
		}
		check(n.resolve(t, "nginx:1.25")[0], true)

		all := n.resolve(t, "--all-nodes-images")
		at := slices.IndexFunc(all, func(i resolved) bool { return i.Image == "docker.io/library/nginx:1.25" })
		if at < 0 || all[at].Registry != shared.private.Address() {
			t.Errorf("images of the node: %+v", all)
		}

		if err := n.shim.Stop(); err != nil {
			t.Fatal(err)
		}
		check(n.resolve(t, "nginx:1.25")[0], false)
		if err := n.shim.Start(testContext(t)); err != nil {
			t.Fatal(err)
		}
		if image := n.status(t, n.through, "nginx:1.25"); image.GetId() != id {
			t.Errorf("resolve has changed the ledger of a stopped shim: %v", image)
		}
	})
}
