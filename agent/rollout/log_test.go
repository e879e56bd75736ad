package rollout

import (
	"regexp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	logtest "github.com/sirupsen/logrus/hooks/test"
)

// TestLog requires that the messages of a first installation have the order of the work.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, d := newTestNode(t), desired(newVersion, "a")
		log, hook := logtest.NewNullLogger()
		messages := func() (messages []string) {
			for _, entry := range hook.AllEntries() {
				message := entry.Message
				if step, ok := entry.Data["step"].(string); ok {
					message += ": " + step
				}
				messages = append(messages, message)
			}
			hook.Reset()
			return messages
		}
		var waiting bool // before the wait
		r := n.agent(t, newVersion, func(o *Options) {
			o.Log, o.Jitter = log, time.Hour
			o.Step = func(name string) {
				if regexp.MustCompile("^wait .* before the first restart of kubelet$").MatchString(name) {
					waiting = hook.LastEntry().Data["wait"] != nil
				}
			}
		})
		n.look(t, r, d, "")
		if ready := hook.LastEntry(); ready.Message != "node is ready" || ready.Data["version"] != newVersion || ready.Data["configuration"] != d.Files.Hash()[:12] {
			t.Errorf("the last message is %q with %v", ready.Message, ready.Data)
		}
		if !waiting {
			t.Error("the wait is not logged before it begins")
		}
		got := messages()
		want := []string{
			"step finished: install the binary", "step finished: check the configuration", "step finished: look up the registries",
			"step finished: arm the switch", "shim started", "step finished: start the shim", "step finished: probe the shim", "step finished: disarm the switch",
			"waiting before the first restart of kubelet", "step finished: wait",
			"step finished: arm the switch", "step finished: edit the files", "step finished: restart kubelet", "step finished: wait for kubelet", "step finished: disarm the switch",
			"node is ready",
		}
		if !slices.EqualFunc(got, want, func(got, want string) bool { return len(got) >= len(want) && got[:len(want)] == want }) {
			t.Errorf("the log is\n%q\nwant\n%q", got, want)
		}
		n.look(t, r, d, "")
		if got := messages(); slices.Contains(got, "node is ready") {
			t.Errorf("the second look logs %q", got)
		}
		n.look(t, r, desired(newVersion, "b"), "")
		if got := messages(); !slices.Contains(got, "shim restarted") {
			t.Errorf("another configuration logs %q", got)
		}
	})
}
