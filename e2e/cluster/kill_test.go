package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fsnotify/fsnotify"

	"image-cri-shim/e2e/cluster/bed"
)

// hostAgent is the agent of a node without a pod: its program runs on the node itself, so that
// it can be killed at any point and nothing starts it again.
type hostAgent struct{ node *bed.Node }

// The folders of a hostAgent on the node. They are gone after a reboot.
const agentFolder, configFolder = "/run/agent", "/run/agent-config"

func newHostAgent(ctx context.Context, t *testing.T, node *bed.Node) hostAgent {
	t.Helper()
	if _, err := os.Stat(node.Path(agentFolder + "/image-cri-shim")); err != nil {
		if err := node.MountAgent(ctx, oldVersion, agentFolder); err != nil {
			t.Fatal(err)
		}
	}
	configuration := fmt.Sprintf("address: http://%s\nauth: %q\n", bed.RegistryHost, bed.RegistryUser+":"+bed.RegistryPassword)
	if err := errors.Join(
		os.MkdirAll(node.Path(configFolder), 0o700),
		os.WriteFile(node.Path(configFolder+"/image-cri-shim.yaml"), []byte(configuration), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	return hostAgent{node}
}

// start runs a command of the agent. stop kills it and returns its output; it does so
// at once when the test process calls it.
func (a hostAgent) start(ctx context.Context, command string) (ended <-chan error, stop func() string) {
	ctx, kill := context.WithCancel(ctx)
	arguments := []string{"setpriv", "--pdeathsig", "KILL", agentFolder + "/image-cri-shim-agent", command, "--host", "/", "--binary", agentFolder + "/image-cri-shim"}
	if command == "agent" {
		arguments = append(arguments, "--config", configFolder, "--jitter", "0s", "--interval", "5s")
	}
	result := make(chan error, 1)
	var output string
	done := make(chan struct{})
	go func() { // until the command has ended, or stop kills it
		defer close(done)
		var err error
		output, err = a.node.Run(ctx, arguments...)
		result <- err
	}()
	return result, func() string {
		kill()
		<-done
		return output
	}
}

// killAt runs a command and kills it with its write-th write of the status file. It reports the
// step in progress, or false if the command was done before.
func (a hostAgent) killAt(ctx context.Context, t *testing.T, command string, write int, done func(status) bool) (step string, killed bool) {
	t.Helper()
	folder := a.node.Path("/run/image-cri-shim-agent")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(filepath.Join(folder, "status.json"))
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = watcher.Close() }()
	if err := watcher.Add(folder); err != nil {
		t.Fatal(err)
	}
	ended, stop := a.start(ctx, command)
	defer stop()
	for count := 0; ; {
		select {
		case err := <-ended:
			t.Fatalf("%s: %s ended: %v", a.node.Name, command, err)
		case event := <-watcher.Events:
			if filepath.Base(event.Name) != "status.json" || !event.Has(fsnotify.Create) {
				continue
			}
			if count++; count == write {
				stop()
				s, err := readStatus(a.node)
				if err != nil {
					t.Fatal(err)
				}
				return s.Step, true
			}
			if s, err := readStatus(a.node); err == nil && done(s) {
				return "", false
			}
		case <-ctx.Done():
			t.Fatalf("%s: %s wrote its status %d times, want %d: %v\n%s", a.node.Name, command, count, write, ctx.Err(), stop())
		}
	}
}

// finish runs a command until it is done.
func (a hostAgent) finish(ctx context.Context, t *testing.T, command string, done func(status) bool) {
	t.Helper()
	_ = os.Remove(a.node.Path("/run/image-cri-shim-agent/status.json"))
	ended, stop := a.start(ctx, command)
	defer stop()
	if err := bed.Await(ctx, func(context.Context) error {
		select {
		case err := <-ended:
			return fmt.Errorf("it ended: %w", err)
		default:
		}
		s, err := readStatus(a.node)
		if err == nil && !done(s) {
			err = fmt.Errorf("the status is %+v", s)
		}
		return err
	}); err != nil {
		t.Fatalf("%s: %s: %v\n%s", a.node.Name, command, err, stop())
	}
}

func installed(s status) bool { return s.Ready && s.Serving == oldVersion && s.KubeletConnected }
func removed(s status) bool   { return s.Ready && s.Removed }

// TestAgentKilledAtEachStep kills the agent at each point of its order, and then lets it run: it
// installs the shim. It kills the removal in the same way. The nodes take turns.
func TestAgentKilledAtEachStep(t *testing.T) {
	needCluster(t)
	uninstall(testContext(t), t)
	for i, node := range shared.Nodes {
		t.Run(node.Name, func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			agent := newHostAgent(ctx, t, node)
			for write, more := i+1, true; more; write += len(shared.Nodes) {
				installStep, killedInstall := agent.killAt(ctx, t, "agent", write, installed)
				agent.finish(ctx, t, "agent", installed)
				removeStep, killedRemove := agent.killAt(ctx, t, "remove", write, removed)
				agent.finish(ctx, t, "remove", removed)
				t.Logf("killed at write %d: install %q, remove %q", write, installStep, removeStep)
				wantPristine(ctx, t, node)
				if err := shared.AwaitReady(ctx, node); err != nil {
					t.Fatal(err)
				}
				more = (killedInstall || killedRemove) && !t.Failed()
			}
		})
	}
}

// TestKubeletHealsWithoutPod lets kubelet fail after the agent has pointed it at the shim, and
// kills the agent. The node points kubelet back: one after two minutes, the other one
// when it boots after a power failure.
func TestKubeletHealsWithoutPod(t *testing.T) {
	needCluster(t)
	uninstall(testContext(t), t)
	for i, node := range shared.Nodes {
		t.Run([]string{"timer", "boot"}[i], func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			agent := newHostAgent(ctx, t, node)
			failKubelet(ctx, t, node)
			_, stop := agent.start(ctx, "agent")
			defer stop()
			awaitKubelet(ctx, t, node, true)
			if err := bed.Await(ctx, func(ctx context.Context) error {
				if state, _ := node.Run(ctx, "systemctl", "is-active", "kubelet"); state == "active" {
					return errors.New("kubelet runs")
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			stop()
			if i == 1 {
				node.PowerOff()
				if err := node.Boot(ctx); err != nil {
					t.Fatal(err)
				}
			}
			awaitKubelet(ctx, t, node, false)
			if err := bed.Await(ctx, func(ctx context.Context) error {
				_, err := node.Run(ctx, "curl", "--silent", "--fail", "http://127.0.0.1:10248/healthz")
				return err
			}); err != nil {
				t.Fatalf("%v\n%s", err, node.Log(context.WithoutCancel(ctx), "kubelet", "image-cri-shim-revert"))
			}
			if err := shared.AwaitReady(ctx, node); err != nil {
				t.Fatal(err)
			}
			restoreKubelet(ctx, t, node)
			agent = newHostAgent(ctx, t, node)
			agent.finish(ctx, t, "remove", removed)
			wantPristine(ctx, t, node)
		})
	}
}

// awaitKubelet waits until kubelet's configuration names the shim's socket or not.
func awaitKubelet(ctx context.Context, t *testing.T, node *bed.Node, pointed bool) {
	t.Helper()
	if err := bed.Await(ctx, func(context.Context) error {
		content, err := node.ReadFile("/var/lib/kubelet/config.yaml")
		if err == nil && strings.Contains(string(content), "image-cri-shim") != pointed {
			err = fmt.Errorf("kubelet is pointed at the shim: %v, want %v", !pointed, pointed)
		}
		return err
	}); err != nil {
		t.Fatalf("%s: %v\n%s", node.Name, err, node.Log(context.WithoutCancel(ctx), "kubelet", "image-cri-shim-revert.service", "image-cri-shim-revert.timer"))
	}
}
