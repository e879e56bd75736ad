package rollout

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"image-cri-shim/agent/pointing"
)

// TestRescue requires that a kubelet that fails after it was pointed is pointed back once, and
// only if it has failed for minutes, and that the next attempt follows a backoff.
func TestRescue(t *testing.T) {
	refused := errors.New("connection refused")
	process := 10
	for name, c := range map[string]struct {
		state   func(look int) pointing.Kubelet
		rescued bool
	}{
		"failed":     {func(int) pointing.Kubelet { return pointing.Kubelet{Active: "failed", Healthz: refused} }, true},
		"restarting": {func(int) pointing.Kubelet { return pointing.Kubelet{Active: "activating", Healthz: refused} }, true},
		"restarting, sometimes well": {func(look int) pointing.Kubelet {
			process++
			if look%3 == 0 {
				return pointing.Kubelet{Active: "active", Process: process}
			}
			return pointing.Kubelet{Active: "active", Process: process, Healthz: refused}
		}, true},
		"stopped by an administrator": {func(int) pointing.Kubelet { return pointing.Kubelet{Active: "inactive", Healthz: refused} }, false},
		"does not answer": {func(int) pointing.Kubelet {
			return pointing.Kubelet{Active: "active", Process: 5, Healthz: refused}
		}, false},
		"fails now and then": {func(look int) pointing.Kubelet {
			if look%4 == 0 {
				return pointing.Kubelet{Active: "failed", Healthz: refused}
			}
			return pointing.Kubelet{Active: "active", Process: 20 + look/4}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, d := newTestNode(t), desired(newVersion, "a")
				r := n.agent(t, newVersion)
				n.look(t, r, d, "")
				n.actions, n.restarts, n.connected = nil, nil, false
				start, err := time.Now(), error(nil)
				look := 0
				for ; look < 60 && n.pointed; look++ {
					n.kubelet = c.state(look)
					n.kubelet.Unit = "kubelet.service"
					err = r.look(t.Context(), &d)
					time.Sleep(45 * time.Second)
				}
				if !c.rescued {
					if !n.pointed || len(n.restarts) > 0 {
						t.Errorf("kubelet was pointed back: %v", err)
					}
					return
				}
				if took := time.Since(start); n.pointed || took < unwellTimeout || took > 10*time.Minute {
					t.Fatalf("pointed %t after %s", n.pointed, took)
				}
				if s := n.status(t); s.Ready || !strings.Contains(s.Reason, "kubelet.service has not worked for ") || s.Failure == nil || !s.Failure.Kubelet || s.KubeletRestarts != 2 {
					t.Errorf("status: %+v", s)
				}
				if want := []string{"unpoint", "restart"}; !slices.Equal(n.actions, want) {
					t.Errorf("actions are %q, want %q", n.actions, want)
				}
				n.look(t, r, d, "next attempt at ") // broken for other reasons: left alone
				n.look(t, n.agent(t, newVersion), d, "next attempt at ")
				if len(n.restarts) != 1 {
					t.Errorf("kubelet was restarted %d times", len(n.restarts))
				}
				n.kubelet = pointing.Kubelet{}
				n.pass(2 * time.Hour)
				n.look(t, r, d, "")
				n.wantServing(t, d)
			})
		})
	}
}

// TestRescueFails requires that pointing back a kubelet that still fails is not repeated before
// a backoff, and that no hour has many restarts.
func TestRescueFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, d := newTestNode(t), desired(newVersion, "a")
		r := n.agent(t, newVersion)
		n.look(t, r, d, "")
		n.restarts = nil
		n.kubelet = pointing.Kubelet{Unit: "kubelet.service", Active: "failed", Healthz: errors.New("connection refused")}
		n.fails["unpoint"] = errors.New("disk full")
		for range 400 { // hours
			_ = r.look(t.Context(), &d)
			time.Sleep(45 * time.Second)
		}
		if s := n.status(t); s.Ready || !strings.Contains(s.Reason, "disk full") || !strings.Contains(s.Reason, "next attempt at ") {
			t.Errorf("status: %+v", s)
		}
		if got := len(n.restarts); got < 3 || got > 9 {
			t.Errorf("%d restarts", got)
		}
		delete(n.fails, "unpoint")
		n.kubeletFails = true
		n.pass(time.Hour)
		n.restarts = nil
		for range 400 {
			n.kubelet.Active = "failed"
			_ = r.look(t.Context(), &d)
			time.Sleep(45 * time.Second)
		}
		wantFewRestarts(t, n.restarts, maxRestarts)
		if n.pointed {
			t.Error("kubelet is pointed at the shim")
		}
	})
}
