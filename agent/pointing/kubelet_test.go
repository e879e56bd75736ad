package pointing

import (
	"os"
	"testing"
)

// TestKubelet requires the state of a kubelet before and after it is pointed, and after it has
// ended, also without a configuration of the shim.
func TestKubelet(t *testing.T) {
	n := newTestNode(t)
	step, _ := recorder()
	want := Kubelet{Unit: "kubelet.service", Active: "active", Process: 100}
	if k, err := n.Kubelet(t.Context(), n.settings); err != nil || k != want {
		t.Errorf("before: %+v, %v, want %+v", k, err, want)
	}
	if err := n.Point(t.Context(), n.settings, step); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(n.path("/etc/image-cri-shim.yaml"))
	want.Process, want.Pointed = 101, true
	if k, err := n.Kubelet(t.Context(), nil); err != nil || k != want {
		t.Errorf("pointed: %+v, %v, want %+v", k, err, want)
	}
	n.running = false
	if k, err := n.Kubelet(t.Context(), n.settings); err != nil || k.Active != "inactive" || k.Healthz == nil || !k.Pointed {
		t.Errorf("ended: %+v, %v", k, err)
	}
}
