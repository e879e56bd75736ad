package e2e

import (
	"os"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestDoctorOfALostLedger removes the ledger of a shim that keeps the names itself. The name
// of a pulled image is then lost at the restart, and the doctor warns before and after it.
func TestDoctorOfALostLedger(t *testing.T) {
	fixture := newDoctorFixture(t, shared.private.Host()+"/pause:3.9")
	fixture.pullSandbox(t)
	n := fixture.newNode(t)
	n.settings = "names: ledger\n"
	n.start(t, privatePassword)
	const name = "quay.io/library/nginx:1.25"
	status := func() *runtimeapi.Image {
		t.Helper()
		answer, err := dial(t, n.shim.Socket()).Images.ImageStatus(testContext(t), &runtimeapi.ImageSpec{Image: name}, false)
		if err != nil {
			t.Fatal(err)
		}
		return answer.Image
	}
	want := func(text string) {
		t.Helper()
		problems := notOK(n.runDoctor(t))
		if text == "" && len(problems) > 0 || text != "" && (len(problems) != 1 || problems[0].Check != "ledger" || !strings.Contains(problems[0].Text, text)) {
			t.Errorf("got %+v, want %q", problems, text)
		}
	}
	want("")
	if _, err := dial(t, n.shim.Socket()).Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: name}, nil, nil); err != nil {
		t.Fatal(err)
	}
	want("")
	if err := os.Remove(n.file("state/ledger.json")); err != nil {
		t.Fatal(err)
	}
	want("but the running shim has")
	if status() == nil {
		t.Error("the image is unknown before the restart")
	}
	if err := n.shim.Stop(); err != nil {
		t.Fatal(err)
	}
	n.start(t, privatePassword)
	want("the node has 1 image with the name of a registry, such as " + shared.private.Host() + "/library/nginx:1.25")
	if status() != nil {
		t.Error("the image is known after the restart")
	}
}
