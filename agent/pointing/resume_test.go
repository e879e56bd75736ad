package pointing

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// TestResume kills the agent at each step of Point, and in between edits, and requires that
// the next agent completes it with at most one restart more than Point itself.
func TestResume(t *testing.T) {
	for _, step := range pointSteps {
		t.Run(step, func(t *testing.T) {
			n := newTestNode(t)
			before := n.files()
			_ = killAt(step, func(step func(string)) error { return n.Point(t.Context(), n.settings, step) })
			if err := n.Resume(t.Context(), n.settings); err != nil {
				t.Fatal(err)
			}
			if step == StepArm { // nothing was done
				n.wantPointed(false)
				n.wantFiles(before)
				n.wantRestarts(0)
				return
			}
			n.wantPointed(true)
			n.wantRestarts(1)
			next, _ := recorder()
			if err := n.Unpoint(t.Context(), nil, next); err != nil {
				t.Fatal(err)
			}
			n.wantFiles(before)
		})
	}
}

// TestResumeHalfEdited kills the agent after the first edit.
func TestResumeHalfEdited(t *testing.T) {
	n := newTestNode(t)
	before := n.files()
	_ = killAt(StepEdit, func(step func(string)) error { return n.Point(t.Context(), n.settings, step) })
	_, changes, err := n.plan(t.Context(), n.settings)
	if err != nil {
		t.Fatal(err)
	}
	if err := changes[0].Apply(); err != nil {
		t.Fatal(err)
	}
	n.failsAt = n.settings.Shim
	if err := n.Resume(t.Context(), n.settings); err == nil || !strings.Contains(err.Error(), "the files were restored") {
		t.Errorf("Resume with a kubelet that fails: %v", err)
	}
	n.wantPointed(false)
	n.wantFiles(before)
}

// TestResumeWhileArming kills the agent between the files of the switch.
func TestResumeWhileArming(t *testing.T) {
	for name, left := range map[string][]string{
		"service":             {unitFolder + "/" + revertService},
		"service and enabled": {unitFolder + "/" + revertService, wantFolder + "/" + revertService},
	} {
		t.Run(name, func(t *testing.T) {
			n := newTestNode(t)
			for _, file := range left {
				n.write(file, "")
			}
			if err := n.Resume(t.Context(), n.settings); err != nil {
				t.Fatal(err)
			}
			n.wantPointed(len(left) > 1)
		})
	}
}

// TestSwitchActs requires that the agent reports a switch that has acted while it was frozen or
// not running, and never success.
func TestSwitchActs(t *testing.T) {
	for _, step := range pointSteps[1:] {
		t.Run("frozen at "+step, func(t *testing.T) {
			n := newTestNode(t)
			before := n.files()
			err := n.Point(t.Context(), n.settings, func(name string) {
				if name == step {
					n.mutex.Lock()
					defer n.mutex.Unlock()
					if err := n.fire(); err != nil {
						t.Error(err)
					}
				}
			})
			if err == nil {
				t.Error("Point succeeds")
			}
			n.wantPointed(false)
			n.wantFiles(before)
		})
		t.Run("killed at "+step, func(t *testing.T) {
			n := newTestNode(t)
			before := n.files()
			_ = killAt(step, func(step func(string)) error { return n.Point(t.Context(), n.settings, step) })
			n.timer = false
			if err := n.fire(); err != nil {
				t.Fatal(err)
			}
			restarts := n.restarts
			if err := n.Resume(t.Context(), n.settings); !errors.Is(err, ErrReverted) {
				t.Errorf("Resume returns %v", err)
			}
			n.wantPointed(false)
			n.wantFiles(before)
			n.wantRestarts(restarts)
			if err := n.Resume(t.Context(), n.settings); err != nil {
				t.Errorf("Resume again: %v", err)
			}
		})
	}
}

// TestSwitchFails requires that a switch that can't act stays armed, and that the error names
// both reasons.
func TestSwitchFails(t *testing.T) {
	n := newTestNode(t)
	n.failsAt, n.switchFail = n.settings.Shim, true
	step, _ := recorder()
	err := n.Point(t.Context(), n.settings, step)
	if err == nil || !strings.Contains(err.Error(), "the service failed") || !strings.Contains(err.Error(), "kubelet did not connect") {
		t.Errorf("Point returns %v", err)
	}
	if !n.newSwitch(must(n.node(t.Context(), n.settings))).isArmed() || !n.timer {
		t.Error("the switch is disarmed")
	}
	n.switchFail = false
	if err := n.Resume(t.Context(), n.settings); err == nil {
		t.Error("Resume succeeds")
	}
	n.wantPointed(false)
}

// TestInterrupted requires that an agent that is asked to end leaves the switch armed, and that
// the next one continues.
func TestInterrupted(t *testing.T) {
	n := newTestNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := n.Point(ctx, n.settings, func(name string) {
		if name == StepAwait {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("Point returns %v", err)
	}
	if !n.timer {
		t.Error("the timer has stopped")
	}
	if err := n.Resume(t.Context(), n.settings); err != nil {
		t.Fatal(err)
	}
	n.wantPointed(true)
	n.wantRestarts(1)
}
