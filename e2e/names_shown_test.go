package e2e

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestNamesAreShown requires that every output of the shim shows where the name of a pulled
// image is kept.
func TestNamesAreShown(t *testing.T) {
	type place struct {
		runtime             runtime
		configuration, mode string
	}
	for name, place := range map[string]place{
		"embedded":                    {shared.embedded, "", "ledger"},
		"containerd":                  {shared.containerd, "", "runtime"},
		"containerd without its part": {shared.containerd, namesInLedger, "ledger"},
	} {
		t.Run(name, func(t *testing.T) {
			if place.runtime != shared.embedded {
				needContainerd(t)
			}
			n, httpAddress := newMetricsNode(t, place.runtime, privateConfiguration()+place.configuration)
			trace := n.startTrace(t, "--method", "PullImage")
			n.pull(t, n.through, "nginx:1.25", nil)

			traced := waitForEvent(t, trace, "/runtime.v1.ImageService/PullImage", anyEvent)
			if len(traced.Decisions) != 1 || traced.Decisions[0].Names != place.mode || traced.Decisions[0].Reason != "the registry has it" {
				t.Errorf("the trace has %+v, want mode %s", traced.Decisions, place.mode)
			}
			if logged := n.decision(t, "nginx:1.25"); logged.Names != place.mode {
				t.Errorf("the log has %+v, want mode %s", logged, place.mode)
			}
			n.wantNamesMeasured(t, httpAddress, place.mode)
			n.wantNamesOnPage(t, httpAddress, place.mode)
			n.wantNamesResolved(t, place.mode)
		})
	}
}

func (n *node) wantNamesMeasured(t *testing.T, httpAddress, mode string) {
	t.Helper()
	metrics := settled(t, httpAddress)
	for _, other := range []string{"runtime", "ledger", "unknown"} {
		want := 0.0
		if other == mode {
			want = 1
		}
		if got := metrics.value("names", "mode="+other); got != want {
			t.Errorf("names in mode %s are %v, want %v", other, got, want)
		}
	}
	if got := metrics.value("names_waiting"); got != 0 {
		t.Errorf("%v names are pending, want 0", got)
	}
	if got := metrics.value("ledger_names"); (got > 0) != (mode == "ledger") {
		t.Errorf("the ledger has %v names", got)
	}
}

func (n *node) wantNamesOnPage(t *testing.T, httpAddress, mode string) {
	t.Helper()
	_, body := mustGetPage(t, httpAddress, "/snapshot")
	var shown struct {
		Names     struct{ Mode, Reason string }
		Decisions []struct{ Method, Names string }
	}
	if err := json.Unmarshal([]byte(body), &shown); err != nil {
		t.Fatal(err)
	}
	if shown.Names.Mode != mode || shown.Names.Reason == "" || len(shown.Decisions) == 0 || shown.Decisions[0].Names != mode {
		t.Errorf("the page has %+v, want %s", shown, mode)
	}
}

func (n *node) wantNamesResolved(t *testing.T, mode string) {
	t.Helper()
	image := n.resolve(t, "nginx:1.25")[0]
	if image.Node.Names.Mode != mode || image.Node.Names.Reason == "" {
		t.Errorf("resolve printed %+v, want %s", image.Node.Names, mode)
	}
	stored := shared.private.Host() + "/library/nginx:1.25"
	var references []string
	for _, p := range image.Node.Runtime {
		references = append(references, p.Reference)
	}
	named, theirs := slices.Contains(references, "docker.io/library/nginx:1.25"), slices.Contains(references, stored)
	if inRuntime := mode == "runtime"; named != inRuntime || theirs == inRuntime {
		t.Errorf("resolve printed the runtime's names %q", references)
	}
}

// TestLookingNamesNothing uses an image that was loaded under the registry's name. The resolve
// command adds no name to it; ImageStatus does.
func TestLookingNamesNothing(t *testing.T) {
	n := newNode(t, needContainerd(t), privateConfiguration())
	stored, original := shared.private.Host()+"/library/nginx:1.25", []byte("docker.io/library/nginx:1.25")
	n.pull(t, n.direct, stored, &runtimeapi.AuthConfig{Username: privateUser, Password: privatePassword})
	image := n.resolve(t, "nginx:1.25")[0]
	if image.Node.Served != stored || image.Node.Registry != shared.private.Address() {
		t.Errorf("resolve printed %+v, want %s", image.Node, stored)
	}
	if records := recordsOf(t, n.direct); bytes.Contains(records, original) {
		t.Errorf("resolve has added a name to the image: %q", records)
	}
	if n.status(t, n.through, "nginx:1.25") == nil || !bytes.Contains(recordsOf(t, n.direct), original) {
		t.Error("ImageStatus has not added a name to the image")
	}
}
