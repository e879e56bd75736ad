package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/admin"
	"image-cri-shim/config"
)

func TestShimSocket(t *testing.T) {
	runtime := func(name, version string) criServer {
		return criServer{versions: []string{"v1"}, version: &cri.VersionResponse{RuntimeName: name, RuntimeVersion: version}}
	}
	away := criServer{callErr: status.Error(codes.Unavailable, "no runtime")}
	for _, test := range []struct {
		name          string
		socket        string
		shim, runtime criServer
		level         Level
		text          string
	}{
		{"the runtime's own", "/cri.sock", criServer{}, criServer{}, Fail, "is the runtime's own socket"},
		{"without the runtime", "/shim.sock", away, criServer{dialErr: errors.New("away")}, OK, "but the runtime behind it does not answer"},
		{"without the runtime that is there", "/shim.sock", away, runtime("containerd", "2"), Fail, "no runtime"},
		{"of another runtime", "/shim.sock", runtime("cri-o", "1"), runtime("containerd", "2"), Fail, "calls through the shim reach cri-o 1, but the runtime at cri is containerd 2"},
		{"where CRI-O's has to be", "/shim.sock", runtime("cri-o", "1"), runtime("cri-o", "1"), Warn, "statistics"},
	} {
		n := &node{Options: Options{Settings: &config.Config{Shim: test.socket, Runtime: "/cri.sock"}}, shim: test.shim, runtime: test.runtime}
		got := checkShimSocket(t.Context(), n)
		if len(got) != 1 || got[0].Level != test.level || !strings.Contains(got[0].Text, test.text) || (got[0].Hint == "") != (test.level == OK) {
			t.Errorf("%s: %+v", test.name, got)
		}
	}
}

func TestRuntimeSocketOfAnOldRuntime(t *testing.T) {
	n := &node{
		Options: Options{Settings: &config.Config{}},
		runtime: criServer{versions: []string{"v1alpha2"}, version: &cri.VersionResponse{RuntimeName: "containerd"}},
	}
	if got := checkRuntime(t.Context(), n); got[0].Level != Warn {
		t.Errorf("%+v", got)
	}
}

// TestShimThatDoesNotAnswer requires a hint that names the key in this configuration file.
func TestShimThatDoesNotAnswer(t *testing.T) {
	n := &node{Options: Options{Settings: &config.Config{Shim: "/run/shim.sock"}}, shimStatusErr: admin.ErrNotRunning, shim: criServer{version: &cri.VersionResponse{}}}
	wantFinding(t, checkRunningShim(t.Context(), n), Fail, "no shim answers on this socket, although a process serves /run/shim.sock", "set the key image in this file")
}

// TestRunningShim compares the status of the running shim with this configuration file.
func TestRunningShim(t *testing.T) {
	file := filepath.Join(t.TempDir(), "shim.yaml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	for name, test := range map[string]struct {
		running ShimStatus
		level   Level
		text    string
	}{
		"same":           {ShimStatus{File: file, Read: later, Version: "1"}, OK, "has this configuration"},
		"not read yet":   {ShimStatus{File: file, Version: "1"}, Warn, "has changed since"},
		"other version":  {ShimStatus{File: file, Read: later, Version: "2"}, Warn, "the shim has version 2"},
		"refused":        {ShimStatus{File: file, Read: time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local), Version: "1", Refused: "line 3"}, Fail, "refused this file: line 3; the last good configuration, read at 2026-01-02 03:04:05, stays in force"},
		"hidden":         {ShimStatus{File: file, Version: "1", Refused: "ca: open /tmp/ca.pem: no such file or directory"}, Fail, "refused this file: ca: open /tmp/ca.pem"},
		"needs restart":  {ShimStatus{File: file, Read: later, Version: "1", Restart: []string{"engine", "names"}}, Warn, "until it is restarted: engine, names"},
		"of another one": {ShimStatus{File: file + ".other", Read: later, Version: "1"}, Fail, "the shim runs with another file"},
	} {
		n := &node{Options: Options{File: file, Version: "1"}}
		if got := n.shimStatusFinding(topic{}, test.running); got.Level != test.level || !strings.Contains(got.Text, test.text) {
			t.Errorf("%s: %+v", name, got)
		} else if hidden := strings.Contains(got.Hint, "the packaged service can't see it"); hidden != (name == "hidden") {
			t.Errorf("%s: the hint is %q", name, got.Hint)
		}
	}
}

// TestFormerRuntime requires that a new value of cri without a runtime is a mistake in the file:
// the running shim works, and a restart would end that.
func TestFormerRuntime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "shim.yaml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n := &node{Options: Options{File: file, Version: "1", Settings: &config.Config{Runtime: "/none.sock"}}, runtime: criServer{dialErr: os.ErrNotExist}}
	n.shimStatus = ShimStatus{File: file, Read: time.Now().Add(time.Hour), Version: "1", Restart: []string{"cri"}}
	running, runtime := checkRunningShim(t.Context(), n), checkRuntime(t.Context(), n)
	wantFinding(t, runtime, Fail, "the running shim still uses its former runtime", "do not restart the shim before")
	wantFinding(t, running, OK, "runs with its former cri", "")
	if got := newReport(append(running, runtime...)).Verdict; !strings.HasPrefix(got, "pulls go on with the last good configuration") {
		t.Errorf("verdict %q", got)
	}
	n.runtime = criServer{versions: []string{"v1"}, version: &cri.VersionResponse{RuntimeName: "containerd"}}
	wantFinding(t, checkRunningShim(t.Context(), n), Warn, "until it is restarted: cri", "systemctl restart image-cri-shim")
}
