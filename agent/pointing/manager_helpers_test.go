package pointing

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"image-cri-shim/agent/systemd"
	"image-cri-shim/clients"
	"image-cri-shim/unixsocket"
)

// fire acts as the service of the switch does. n.mutex is held.
func (n *testNode) fire() error {
	if n.switchFail {
		return errors.New("the service failed")
	}
	node := clients.DefaultPaths(n.root).Node()
	node.Shim, node.Runtime, node.SameSocket = n.settings.Shim, n.settings.Runtime, unixsocket.Same
	text, err := os.ReadFile(n.path("/etc/systemd/system/" + revertService))
	if err != nil {
		return err
	}
	for _, word := range strings.Fields(string(text)) {
		if strings.HasPrefix(word, `"`+n.root) {
			node.FormerShims = append(node.FormerShims, strings.Trim(word, `"`))
		}
	}
	changes, err := node.Uninstall()
	if err == nil {
		err = clients.ApplyAll(changes)
	}
	if err == nil {
		err = os.Remove(n.path(wantFolder + "/" + revertService))
	}
	n.restart()
	return err
}

func (n *testNode) Reload(context.Context) error { return nil }

// ResetFailed requires that the service of the switch has been deleted.
func (n *testNode) ResetFailed(_ context.Context, units ...string) error {
	for _, unit := range units {
		if _, err := os.Lstat(n.path(unitFolder + "/" + unit)); err == nil || unit != revertService {
			return errors.New("reset of " + unit)
		}
	}
	return nil
}

func (n *testNode) Enable(_ context.Context, units ...string) error {
	for _, unit := range units {
		link := n.path(wantFolder + "/" + unit)
		_ = os.MkdirAll(filepath.Dir(link), 0o700)
		if err := os.Symlink(n.path(unitFolder+"/"+unit), link); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

func (n *testNode) Disable(_ context.Context, units ...string) error {
	for _, unit := range units {
		_ = os.Remove(n.path(wantFolder + "/" + unit))
	}
	return nil
}

func (n *testNode) Start(_ context.Context, unit string) error {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if unit != revertService {
		return errors.New("start of " + unit)
	}
	return n.fire()
}

func (n *testNode) Stop(_ context.Context, unit string) error {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if unit != revertTimer {
		return errors.New("stop of " + unit)
	}
	n.timer = false
	return nil
}

func (n *testNode) Restart(_ context.Context, unit string) error {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if _, err := os.Stat(n.path(unitFolder + "/" + unit)); err != nil || unit != revertTimer {
		return fmt.Errorf("restart of %s: %w", unit, err)
	}
	if n.armFail {
		return errors.New("the unit is invalid")
	}
	n.timer = true
	return nil
}

func (n *testNode) RestartNoWait(_ context.Context, unit string) error {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if unit != "kubelet.service" {
		return errors.New("restart of " + unit)
	}
	n.restart()
	return nil
}

func (n *testNode) Unit(_ context.Context, unit string) (systemd.Unit, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	state := systemd.Unit{Load: "loaded", Active: "inactive"}
	if unit == "kubelet.service" && n.running {
		state.Active, state.MainPID = "active", n.process
	}
	return state, nil
}

// boot starts the node again: systemd starts an enabled switch before kubelet.
func (n *testNode) boot() {
	n.t.Helper()
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.timer = false
	if err := n.fire(); err != nil {
		n.t.Error(err)
	}
}
