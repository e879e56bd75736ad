package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/admin"
	"image-cri-shim/config"
	"image-cri-shim/explain"
	"image-cri-shim/registry"
	"image-cri-shim/rewrite/naming"
)

// TestNames tests the findings for each place where names may be kept, and for each reason.
func TestNames(t *testing.T) {
	inRuntime := explain.Naming{Mode: "runtime", Reason: "containerd's images service answers"}
	inLedger := explain.Naming{Mode: "ledger", Reason: "the runtime does not serve containerd's images service"}
	for _, test := range []struct {
		name     string
		runtime  string // its name; empty if it does not answer
		setting  string // of names
		running  ShimStatus
		notAsked error
		level    Level
		text     string // a part; empty for no finding
		hint     string
	}{
		{name: "in the runtime", runtime: "containerd", running: ShimStatus{Names: inRuntime}, text: "kept by the runtime: containerd's images service answers"},
		{name: "waiting", runtime: "containerd", running: ShimStatus{Names: inRuntime, Ledger: 3}, level: Warn, text: "except for names that are still only in the ledger: 3", hint: "journalctl"},
		{name: "changes are refused", runtime: "containerd", running: ShimStatus{Names: explain.Naming{Mode: "runtime", Repairs: 2}}, level: Warn, text: "names from some repositories (2) could not be changed there; the shim retries", hint: "journalctl"},
		{name: "changed to auto", runtime: "containerd", setting: config.NamesAuto, running: ShimStatus{Names: explain.Naming{Mode: "ledger", Reason: "names: ledger"}, Restart: []string{"engine", "names"}},
			level: Warn, text: "because the shim started with names: ledger; the file now says names: auto", hint: "systemctl restart image-cri-shim"},
		{name: "CRI-O", runtime: "cri-o", running: ShimStatus{Names: inLedger, Ledger: 3}, text: "kept in the shim's ledger: the runtime does not serve containerd's images service"},
		{name: "as configured", runtime: "containerd", setting: config.NamesLedger, running: ShimStatus{Names: explain.Naming{Mode: "ledger", Reason: "names: ledger"}}, text: "because of names: ledger"},
		{name: "closed off", runtime: "containerd", running: ShimStatus{Names: inLedger}, level: Warn, text: "although containerd can keep them", hint: "or set names: ledger, then restart the shim"},
		{name: "not known", runtime: "containerd", running: ShimStatus{Names: explain.Naming{Mode: "unknown", Reason: "the runtime has not been reached yet"}}, level: Warn, text: "has not been reached yet", hint: "wait a few seconds"},
		{name: "another version", runtime: "containerd", level: Warn, text: "the running shim does not report this", hint: "doctor again"},
		{name: "no runtime", running: ShimStatus{Names: inRuntime}},
		{name: "another user's shim", runtime: "containerd", notAsked: admin.ErrUntrustedPeer},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := &node{Options: Options{Settings: &config.Config{Names: test.setting, Runtime: "/run/runtime.sock"}}, shimStatus: test.running, shimStatusErr: test.notAsked}
			if test.runtime != "" {
				n.runtime.version = &cri.VersionResponse{RuntimeName: test.runtime}
			}
			wantFinding(t, checkNames(t.Context(), n), test.level, test.text, test.hint)
		})
	}
}

// TestNamesWithoutAShim requires that the doctor asks the runtime and reads the ledger file
// if no shim is running.
func TestNamesWithoutAShim(t *testing.T) {
	const kept = `{"version":1,"names":[{"original":"docker.io/library/nginx:1","image":"sha256:1","stored":"hub:5000/library/nginx:1","at":"2026-01-02T03:04:05Z"}]}`
	for _, test := range []struct {
		name, ledger string
		err          error // of containerd's images service
		level        Level
		text, hint   string
	}{
		{"in the runtime", `{"version":1}`, nil, OK, "kept by the runtime: containerd's images service answers", ""},
		{"still in the ledger", kept, nil, Warn, "except for names in the ledger of the stopped shim: 1", "systemctl start image-cri-shim"},
		{"closed off", kept, status.Error(codes.PermissionDenied, "closed"), Warn, "the runtime's images service refuses: closed", "names: ledger"},
		{"away", kept, status.Error(codes.Unavailable, "away"), Warn, "has not been reached yet", "wait a few seconds"},
	} {
		t.Run(test.name, func(t *testing.T) {
			state := t.TempDir()
			if err := errors.Join(os.Chmod(state, 0o700), os.WriteFile(filepath.Join(state, "ledger.json"), []byte(test.ledger), 0o600)); err != nil {
				t.Fatal(err)
			}
			namer := naming.New(naming.Options{Invoke: func(context.Context, string, []byte) ([]byte, error) { return nil, test.err }})
			n := &node{
				Options:       Options{Settings: &config.Config{StateDirectory: state}, Explainer: &explain.Explainer{Namer: namer}},
				runtime:       criServer{version: &cri.VersionResponse{RuntimeName: "containerd"}},
				shimStatusErr: admin.ErrNotRunning,
			}
			wantFinding(t, checkNames(t.Context(), n), test.level, test.text, test.hint)
		})
	}
}

// TestSandboxHint requires that the hint suggests a pull through the shim only if the
// runtime keeps the names.
func TestSandboxHint(t *testing.T) {
	n := &node{Options: Options{Settings: &config.Config{Shim: "/run/shim.sock"}}}
	for mode, want := range map[naming.Mode]bool{naming.InRuntime: true, naming.InLedger: false} {
		found := n.missingSandboxFinding(topic{}, explain.Image{
			Image: "pause:3.9", Reference: "docker.io/library/pause:3.9", Node: explain.Node{Names: explain.Naming{Mode: string(mode)}},
			Registries: []explain.Registry{{Answer: registry.Found.String(), Registry: "http://hub:5000", Reference: "hub:5000/library/pause:3.9"}},
		})
		if found.Level != Fail || !strings.Contains(found.Hint, "set the runtime's sandbox image to hub:5000/library/pause:3.9 (") {
			t.Errorf("%s: %+v", mode, found)
		}
		if got := strings.HasPrefix(found.Hint, "pull the image through the shim: crictl --image-endpoint unix:///run/shim.sock pull pause:3.9"); got != want {
			t.Errorf("%s: the hint is %q", mode, found.Hint)
		}
	}
}

func wantFinding(t *testing.T, findings []Finding, level Level, text, hint string) {
	t.Helper()
	if text == "" {
		if len(findings) > 0 {
			t.Errorf("got %+v, want nothing", findings)
		}
		return
	}
	if len(findings) != 1 || findings[0].Level != level || !strings.Contains(findings[0].Text, text) || !strings.Contains(findings[0].Hint, hint) {
		t.Errorf("got %+v, want %v with %q and %q", findings, level, text, hint)
	}
}
