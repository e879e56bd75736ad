package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"image-cri-shim/agent/status"
)

// TestStatus prints the status of a node, and requires its exit code.
func TestStatus(t *testing.T) {
	other := exec.CommandContext(t.Context(), "sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	_ = other.Process.Kill()
	_ = other.Wait()
	now := time.Now()
	ready := status.Status{
		Command: "agent", Process: os.Getpid(), Updated: now, Version: "v2", Hash: "0123456789abcdef", State: status.Ready, Ready: true,
		Applied: &status.Applied{Hash: "0123456789abcdef", Version: "v2", Time: now.Add(-time.Hour)}, Serving: "v2", KubeletConnected: true,
		Drift:  &status.Drift{Count: 3, Time: now.Add(-time.Minute), Found: []string{"a", "b"}},
		Doctor: []string{"connection http://a:5000: refused", "clock http://b: late"},
	}
	change := func(change func(*status.Status)) status.Status {
		s := ready
		change(&s)
		return s
	}
	for name, c := range map[string]struct {
		status     status.Status
		code       int
		text       []string
		readyError string // of --ready
	}{
		"ready":       {ready, 0, []string{"ready          yes\n", "state          ready\n", "shim           v2\n", "configuration 0123456789ab, version v2,", "(1h0m0s ago)", "connected through the shim, restarts by the agent within an hour: 0 of 3\n", "mended 3 times, last ", ": a; b\n", "doctor         connection http://a:5000: refused\ndoctor         clock http://b: late\n"}, ""},
		"mended once": {change(func(s *status.Status) { s.Drift = &status.Drift{Count: 1, Time: now, Found: []string{"a"}} }), 0, []string{"mended 1 time, last "}, ""},
		"failed": {change(func(s *status.Status) {
			s.State, s.Ready, s.Reason, s.Serving, s.KubeletConnected, s.Applied = status.Waiting, false, "kubelet did not connect", "", false, nil
			s.Failure = &status.Failure{Step: "wait for kubelet", Reason: "kubelet did not connect", Time: now, Next: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
		}), 1, []string{"no: kubelet did not connect\n", "state          waiting\n", "does not answer\n", "applied        none\n", "not connected through the shim", "wait for kubelet: kubelet did not connect\n", "next attempt   2026-01-02T03:04:05Z\n"}, "kubelet did not connect"},
		"registry": {change(func(s *status.Status) {
			s.LookUp = &status.LookUp{Hash: "0123456789abcdef", Time: now, Unreachable: []status.Registry{{Address: "https://hubb", Reason: "no such host"}}}
		}), 0, []string{"registry       https://hubb could not be used by configuration 0123456789ab at ", "(0s ago): no such host\n"}, ""},
		"in progress": {change(func(s *status.Status) { s.State, s.Ready, s.Step = status.Applying, false, "probe the shim" }), 1, []string{"no: in progress: probe the shim", "state          applying\n"}, "in progress: probe the shim"},
		"stale":       {change(func(s *status.Status) { s.Updated = now.Add(-4 * time.Minute) }), 1, []string{"state          stale\n", "no: the status is stale: agent process "}, "the status is stale: "},
		"future":      {change(func(s *status.Status) { s.Updated = now.Add(4 * time.Hour) }), 1, []string{"no: the status is stale: agent process "}, "the status is stale: "},
		"removed":     {change(func(s *status.Status) { s.State, s.Removed, s.Command, s.Applied = status.Removed, true, "remove", nil }), 0, []string{"state          removed\n", "shim           removed\n", "command remove"}, ""},
		"other agent": {change(func(s *status.Status) { s.Process = 1 }), 0, nil, "the status is of another agent, process 1; "},
		"ended agent": {change(func(s *status.Status) { s.Process = other.Process.Pid }), 0, nil, "the status is of process "},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "other agent" {
				own, _ := os.Readlink("/proc/self/ns/mnt")
				if first, err := os.Readlink("/proc/1/ns/mnt"); err != nil || own == first {
					t.Skip("process 1 is in this mount namespace, or hidden")
				}
			}
			host := t.TempDir()
			if err := status.Write(filepath.Join(host, status.File), c.status); err != nil {
				t.Fatal(err)
			}
			stdout, stderr, code := run(t, "status --host "+host)
			for _, want := range c.text {
				if !strings.Contains(stdout, want) {
					t.Errorf("printed\n%swant %q", stdout, want)
				}
			}
			if code != c.code || stderr != "" {
				t.Errorf("exit code %d, stderr %q, want %d", code, stderr, c.code)
			}
			stdout, _, code = run(t, "status -o json --host "+host)
			var decoded status.Status
			if err := json.Unmarshal([]byte(stdout), &decoded); err != nil || decoded.Process != c.status.Process || code != c.code {
				t.Errorf("exit code %d, %v: %s", code, err, stdout)
			}
			if decoded.State != c.status.StateAt(now) || decoded.Ready != (code == 0) || decoded.Ready != (decoded.Reason == "") {
				t.Errorf("state %q, ready %t, reason %q with the exit code %d", decoded.State, decoded.Ready, decoded.Reason, code)
			}
			stdout, stderr, code = run(t, "status --ready --host "+host)
			if stdout != "" || (code == 0) != (c.readyError == "") || !strings.Contains(stderr, c.readyError) {
				t.Errorf("--ready: exit code %d, %s%s, want %q", code, stdout, stderr, c.readyError)
			}
		})
	}
}
