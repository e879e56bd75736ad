package cluster

import (
	"context"
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
	view.usual = nothing.with(shown{
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
	view.want(ctx, t, "being applied", oneReady.with(shown{
		"Nodes not ready":  "instance:node2 reason:.* state:applying step:.*kubelet.* = 1",
		"Nodes by state A": "state:applying = 1\nstate:ready = 1",
	}), "node1 v0.1.0 ready 0") // kubelet of node2 does not report

	changeByHand(ctx, t, first)
	view.usual["Drift"] = "instance:node1 = 1"
	failPulls(ctx, t, first, func() {
		view.want(ctx, t, "pulls failing, registry down", oneReady.with(shown{
			"Nodes not ready": "instance:node2 .* = 1", "Nodes by state A": `state:ready = 1\nstate:\w+ = 1|state:\w+ = 1\nstate:ready = 1`,
			"Nodes with failing pulls": "1", "Failing pulls": `instance:node1 = \d+`, "Pulls by outcome": `(?s).*outcome:failed = .*`,
			"Registries down": "1", "Unreachable registries B": "registry:http://" + bed.RegistryHost + " = 1",
			"Registries not asked": "registry:http://" + bed.RegistryHost + " = 1",
		}), "node1 v0.1.0 ready 1")
	})
	view.usual["Nodes with failing pulls"], view.usual["Failing pulls"] = "[01]", `(instance:node1 = \d+)?` // for 10 minutes
	view.want(ctx, t, "waiting", oneReady.with(shown{
		"Nodes not ready":  "instance:node2 reason:.* state:waiting step:.* = 1",
		"Nodes by state A": "state:ready = 1\nstate:waiting = 1",
		"Failed attempts":  "instance:node2 = 1",
	}), "node1 v0.1.0 ready 0", "node2 v0.1.0 (waiting|failed) 0")

	restoreKubelet(ctx, t, second)
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
	view.usual = view.usual.with(shown{
		"Releases A": nodes(2, configuration, oldVersion), "Releases B": nodes(2, configuration, oldVersion),
		"Configurations applied": "configuration:" + configuration + " = 2", "Registries down": "1",
		"Unreachable registries A": "registry:http://" + bed.UnreachableHost + " = 2",
		"Unreachable registries B": "(registry:http://" + bed.UnreachableHost + " = [12])?",
		"Registries not asked":     "registry:http://" + bed.RegistryHost + " = 0\nregistry:http://" + bed.UnreachableHost + " = [012]",
	})
	view.want(ctx, t, "a registry unreachable", nil, bothReady...)

	// The update waits after the first node. A DaemonSet replaces all pods that were not ready for
	// this time.
	const wait = 15
	awaitAge(ctx, t, wait*time.Second)
	if err := upgrade(ctx, t, newVersion, more.with("minReadySeconds", wait)); err != nil {
		t.Fatal(err)
	}
	half := nodes(1, configuration, oldVersion) + "\n" + nodes(1, configuration, newVersion)
	view.want(ctx, t, "two versions at once", shown{
		"Releases A": half, "Releases B": half, "Versions applied": "version:v0.1.0 = 1\nversion:v0.2.0 = 1",
		"Nodes that lag": "configuration:" + configuration + ` instance:node\d version:v0\.[12]\.0 = 1`,
	})
	install(ctx, t, newVersion, more)
	view.usual = view.usual.with(shown{
		"Releases A": nodes(2, configuration, newVersion), "Releases B": nodes(2, configuration, newVersion), "Versions applied": "version:v0.2.0 = 2",
	})
	view.want(ctx, t, "upgraded", nil, "node1 v0.2.0 ready 0", "node2 v0.2.0 ready 0")

	second.PowerOff()
	view.want(ctx, t, "node down", shown{
		"Ready": "1", "Agents down": "1", "Nodes not ready": "instance:node2 state:down, was ready = .*",
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

	if _, err := view.prometheus.Alerts(ctx); err != nil {
		t.Error(err)
	}
	view.wantDocumented(ctx, t)
}
