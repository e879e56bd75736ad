package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"image-cri-shim/e2e/cluster/bed"
)

// nothing is shown while no node has an agent.
var nothing = shown{
	"Nodes": "0", "Ready": "0", "Not ready": "0", "Agents down": "0", "Nodes with failing pulls": "0", "Registries down": "0",
	"Nodes not ready": "", "Nodes by state A": "", "Nodes by state B": "",
	"Releases A": "", "Releases B": "", "Nodes that lag": "", "Versions applied": "", "Configurations applied": "",
	"Pulls by outcome": "", "Pulls by registry": "", "Failing pulls": "",
	"Unreachable registries A": "", "Unreachable registries B": "", "Registries not asked": "",
	"Drift": "", "Restarts of kubelet": "", "Failed attempts": "", "Findings of the doctor": "",
	"kubelet not connected": "0", "Shims not scraped": "0", "Oldest status": "",
}

// TestStates brings the nodes into states, and requires that all queries of the dashboard of the
// fleet and the table of kubectl image-cri-shim show each of them.
func TestStates(t *testing.T) {
	cluster := needCluster(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	uninstall(ctx, t) // also the counts of drift and restarts
	first, second := cluster.Nodes[0], cluster.Nodes[1]
	good := goodValues().with("metrics", values{"enabled": true})
	view := newFleetView(ctx, t)

	view.usual = nothing
	view.want(ctx, t, "not installed", nil)

	// kubelet of the second node fails after it was pointed at the shim.
	failKubelet(ctx, t, second)
	if err := upgrade(ctx, t, oldVersion, good); err != nil {
		t.Fatal(err)
	}
	awaitServing(ctx, t, first, oldVersion)
	configuration := shortHash(t, first)
	view.usual = merge(nothing, shown{
		"Nodes": "2", "Ready": "2", "Nodes by state A": "state:ready = 2",
		"Releases A": nodes(2, configuration, oldVersion), "Releases B": nodes(2, configuration, oldVersion),
		"Versions applied": "version:v0.1.0 = 2", "Configurations applied": "configuration:" + configuration + " = 2",
		"Pulls by outcome": "(?s).*", "Pulls by registry": "(?s).*",
		"Registries not asked": "registry:http://" + bed.RegistryHost + " = 0",
		"Restarts of kubelet":  "instance:node1 = 1\ninstance:node2 = 1", "Findings of the doctor": "(instance:node\\d = \\d+\n?)*",
		"Oldest status": `\d{1,2}(\.\d+)?`,
	})
	oneReady := shown{
		"Ready": "1", "Not ready": "1", "Releases B": nodes(1, configuration, oldVersion),
		"Nodes that lag": "instance:node2 = 1", "Versions applied": "version:v0.1.0 = 1", "Configurations applied": "configuration:" + configuration + " = 1",
		"kubelet not connected": "1", "Restarts of kubelet": `instance:node1 = 1(\ninstance:node2 = \d)?`, "Shims not scraped": "[01]",
		"Failed attempts": "(instance:node2 = 1)?",
	}
	view.want(ctx, t, "being applied", merge(oneReady, shown{
		"Nodes not ready":  "instance:node2 reason:.* state:applying step:.*kubelet.* = 1",
		"Nodes by state A": "state:applying = 1\nstate:ready = 1",
	}), "node1 v0.1.0 ready 0") // kubelet of node2 does not report

	changeByHand(ctx, t, first)
	view.usual["Drift"] = "instance:node1 = 1"
	view.want(ctx, t, "waiting", merge(oneReady, shown{
		"Nodes not ready":  "instance:node2 reason:.* state:waiting step:.* = 1",
		"Nodes by state A": "state:ready = 1\nstate:waiting = 1",
		"Failed attempts":  "instance:node2 = 1",
	}), "node1 v0.1.0 ready 0", "node2 v0.1.0 (waiting|failed) 0")

	mendKubelet(ctx, t, second)
	setLabel(ctx, t, second, enabledLabel, "false")
	defer setLabel(ctx, t, second, enabledLabel, "")
	awaitTakenOut(ctx, t, second)
	view.want(ctx, t, "taken out", shown{
		"Nodes": "1", "Ready": "1", "Nodes by state A": "state:ready = 1",
		"Releases A": nodes(1, configuration, oldVersion), "Releases B": nodes(1, configuration, oldVersion),
		"Versions applied": "version:v0.1.0 = 1", "Configurations applied": "configuration:" + configuration + " = 1",
		"Restarts of kubelet": "instance:node1 = 1",
	}, "node1 v0.1.0 ready 0", "node2 v0.1.0 removed 0")

	setLabel(ctx, t, second, enabledLabel, "")
	awaitServing(ctx, t, second, oldVersion)
	awaitRollout(ctx, t, daemonSet)
	bothReady := []string{"node1 v0.1.0 ready 0", "node2 v0.1.0 ready 0"}
	view.want(ctx, t, "ready", nil, bothReady...)

	// A configuration that the shim refuses stops at one node, and a rollback ends it.
	bad := good.with("config", "address: http://"+bed.RegistryHost+"\ntimeot: 3s\n")
	if err := upgrade(ctx, t, oldVersion, bad); err != nil {
		t.Fatal(err)
	}
	view.stops(ctx, t, "refused", configuration, "timeot", "check the configuration", nil)
	if _, err := cluster.Helm(ctx, "rollback", releaseName, "--namespace", namespace); err != nil {
		t.Fatal(err)
	}
	awaitRollout(ctx, t, daemonSet)
	view.want(ctx, t, "rolled back", nil, bothReady...)

	// The gate refuses a registry that no node reaches. Without the gate, it is only shown.
	more := good.with("config", values{
		"address": "http://" + bed.RegistryHost, "registries": []values{{"address": "http://" + bed.UnreachableHost}},
	})
	if err := upgrade(ctx, t, oldVersion, more.with("registryGate", "all")); err != nil {
		t.Fatal(err)
	}
	view.stops(ctx, t, "refused by the gate", configuration, bed.UnreachableHost, "look up the registries", shown{
		"Registries down": "1", "Unreachable registries A": "registry:http://" + bed.UnreachableHost + " = 1",
	})
	install(ctx, t, oldVersion, more)
	configuration = shortHash(t, first)
	view.usual = merge(view.usual, shown{
		"Releases A": nodes(2, configuration, oldVersion), "Releases B": nodes(2, configuration, oldVersion),
		"Configurations applied": "configuration:" + configuration + " = 2", "Registries down": "1",
		"Unreachable registries A": "registry:http://" + bed.UnreachableHost + " = 2",
		"Unreachable registries B": "(registry:http://" + bed.UnreachableHost + " = [12])?",
		"Registries not asked":     "registry:http://" + bed.RegistryHost + " = 0\nregistry:http://" + bed.UnreachableHost + " = [012]",
	})
	view.want(ctx, t, "a registry unreachable", nil, bothReady...)

	// The update waits for a minute after the first node.
	if err := upgrade(ctx, t, newVersion, more.with("minReadySeconds", 60)); err != nil {
		t.Fatal(err)
	}
	half := nodes(1, configuration, oldVersion) + "\n" + nodes(1, configuration, newVersion)
	view.want(ctx, t, "two versions at once", shown{
		"Releases A": half, "Releases B": half, "Versions applied": "version:v0.1.0 = 1\nversion:v0.2.0 = 1",
		"Nodes that lag": "configuration:" + configuration + ` instance:node\d version:v0\.[12]\.0 = 1`,
	})
	install(ctx, t, newVersion, more)
	view.usual = merge(view.usual, shown{
		"Releases A": nodes(2, configuration, newVersion), "Releases B": nodes(2, configuration, newVersion), "Versions applied": "version:v0.2.0 = 2",
	})
	view.want(ctx, t, "upgraded", nil, "node1 v0.2.0 ready 0", "node2 v0.2.0 ready 0")

	second.PowerOff()
	view.want(ctx, t, "node down", shown{
		"Ready": "1", "Agents down": "1", "Nodes not ready": "instance:node2 state:down = 0",
		"Nodes by state A": "state:ready = 1", "Nodes by state B": "1",
		"Releases A": nodes(1, configuration, newVersion), "Releases B": nodes(1, configuration, newVersion),
		"Versions applied": "version:v0.2.0 = 1", "Configurations applied": "configuration:" + configuration + " = 1",
		"Restarts of kubelet": "instance:node1 = 1", "Unreachable registries A": "registry:http://" + bed.UnreachableHost + " = 1",
	}, "node1 v0.2.0 ready 0", "node2 v0.2.0 down 0")
	if err := second.Boot(ctx); err != nil {
		t.Fatal(err)
	}
	if err := cluster.AwaitReady(ctx, second); err != nil {
		t.Fatal(err)
	}
	awaitServing(ctx, t, second, newVersion)

	// No registry has the images, and then the private registry is down.
	cluster.Registry.Stop()
	defer func() {
		if err := cluster.Registry.Start(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}()
	pod := bed.Pod("absent", "docker.io/library/absent:1", first)
	if err := cluster.Create(ctx, pod); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cluster.Delete(context.WithoutCancel(ctx), pod); err != nil {
			t.Error(err)
		}
	}()
	view.want(ctx, t, "pulls failing, registry down", shown{
		"Nodes with failing pulls": "1", "Failing pulls": `instance:node1 = \d+`, "Pulls by outcome": `(?s).*outcome:failed = .*`,
		"Registries down": "2", "Unreachable registries B": "registry:http://" + bed.RegistryHost + " = 1.*\n.*",
		"Registries not asked": "registry:http://" + bed.RegistryHost + " = 1\n.*",
	}, "node1 v0.2.0 ready 1", "node2 v0.2.0 ready 0")

	if _, err := view.prometheus.Alerts(ctx); err != nil {
		t.Error(err)
	}
	view.wantDocumented(ctx, t)
}

// stops requires that a configuration stops at one node with a reason, and the other one has the
// configuration before.
func (v *fleetView) stops(ctx context.Context, t *testing.T, state, before, reason, step string, changes shown) {
	t.Helper()
	node := awaitRefusal(ctx, t, reason)
	row := func(name string) string {
		if name == node.Name {
			return name + " v0.1.0 refused 0"
		}
		return name + " v0.1.0 ready 0"
	}
	requested := []string{nodes(1, before, oldVersion), nodes(1, shortHash(t, node), oldVersion)}
	v.want(ctx, t, state, merge(shown{
		"Ready": "1", "Not ready": "1", "Nodes by state A": "state:ready = 1\nstate:refused = 1",
		"Nodes not ready": fmt.Sprintf("instance:%s reason:.*%s.* state:refused step:%s = 1", node.Name, reason, step),
		"Releases A":      requested[0] + "\n" + requested[1] + "|" + requested[1] + "\n" + requested[0],
		"Failed attempts": "instance:" + node.Name + ` = \d`,
	}, changes), row("node1"), row("node2"))
}

// awaitRefusal waits until the agent of a node is not ready for a reason, and returns the node.
func awaitRefusal(ctx context.Context, t *testing.T, reason string) (refusing *bed.Node) {
	t.Helper()
	if err := bed.Await(ctx, func(context.Context) error {
		var all []error
		for _, node := range shared.Nodes {
			s, err := readStatus(node)
			if err == nil && !s.Ready && s.Step == "" && strings.Contains(s.Reason, reason) {
				refusing = node
				return nil
			}
			all = append(all, err, fmt.Errorf("the status of %s is %+v", node.Name, s))
		}
		return errors.Join(all...)
	}); err != nil {
		t.Fatalf("no node refuses because of %q: %v\n%s", reason, err, agentState(ctx))
	}
	return refusing
}

// changeByHand adds a line to the configuration on a node, and waits until the agent has mended it.
func changeByHand(ctx context.Context, t *testing.T, node *bed.Node) {
	t.Helper()
	before := readNodeFile(t, node, nodeFile)
	if err := os.WriteFile(node.Path(nodeFile), []byte(before+"# by hand\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := bed.Await(ctx, func(context.Context) error {
		if s, err := readStatus(node); err != nil || s.Drift == nil {
			return fmt.Errorf("no drift is reported: %w", err)
		}
		return nil
	}); err != nil {
		t.Fatalf("%v\n%s", err, agentState(ctx))
	}
}

// nodes returns the line of nodes with a release.
func nodes(count int, configuration, version string) string {
	return fmt.Sprintf("configuration:%s version:%s = %d", configuration, version, count)
}

// shortHash returns the beginning of the hash of the requested configuration, as in the metrics.
func shortHash(t *testing.T, node *bed.Node) string {
	t.Helper()
	s, err := readStatus(node)
	if err != nil || len(s.Hash) < 12 {
		t.Fatalf("%s: the hash is %q: %v", node.Name, s.Hash, err)
	}
	return s.Hash[:12]
}

// merge returns a copy of a with the entries of b.
func merge(a, b shown) shown {
	merged := make(shown, len(a))
	for _, from := range []shown{a, b} {
		for name, pattern := range from {
			merged[name] = pattern
		}
	}
	return merged
}
