package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image-cri-shim/e2e/cluster/bed"
)

// TestPlugin runs kubectl image-cri-shim on a cluster with ready nodes, on one with an
// image that does not exist, and on one with a configuration that is refused.
func TestPlugin(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	install(ctx, t, oldVersion, goodValues())
	first, second := cluster.Nodes[0], cluster.Nodes[1]
	good := awaitFleet(ctx, t, cluster.Kubeconfig, 0, func(f fleet) error {
		return f.wantStates("ready", "ready")
	})
	for _, node := range good.Nodes {
		if node.Version != oldVersion || len(node.Configuration) != len("0123456789+"+loginSecret) || node.Pod == "" || node.Release != releaseName {
			t.Errorf("ready node %+v, want version %s and configuration HASH+%s", node, oldVersion, loginSecret)
		}
	}
	record(ctx, t, "ready")

	missing := bed.Pod("missing", "docker.io/library/missing:1", first)
	if err := cluster.Create(ctx, missing); err != nil {
		t.Fatal(err)
	}
	awaitFleet(ctx, t, cluster.Kubeconfig, 0, func(f fleet) error {
		if failing := f.node(first).PullsFailing; failing == nil || *failing != 1 {
			return fmt.Errorf("%s: pulls failing %v, want 1", first.Name, failing)
		}
		return nil
	})
	wide, _ := runPlugin(ctx, t, cluster.Kubeconfig, 0, "-o", "wide", first.Name)
	wantTexts(t, wide, "IMAGES FAILING", missing.Spec.Containers[0].Image, "1 pull failing")
	if strings.Contains(wide, second.Name) {
		t.Errorf("the output has %s, which was not asked for:\n%s", second.Name, wide)
	}
	recordPod(ctx, t, missing.Namespace, missing.Name, "pull-failing")
	if err := cluster.Delete(ctx, missing); err != nil {
		t.Fatal(err)
	}

	if err := upgrade(ctx, t, oldVersion, goodValues().with("config", values{"address": "http://127.0.0.1:9"})); err != nil {
		t.Fatal(err)
	}
	refused := awaitFleet(ctx, t, cluster.Kubeconfig, 1, func(f fleet) error {
		return f.wantStates("refused", "ready")
	})
	bad := refused.Nodes[0]
	if !strings.Contains(bad.Reason, "http://127.0.0.1:9") || bad.Configuration == good.Nodes[0].Configuration || bad.Ready {
		t.Errorf("refused node %+v, want the registry as the reason, and another configuration than %s", bad, good.Nodes[0].Configuration)
	}
	record(ctx, t, "refused")
	text, _ := runPlugin(ctx, t, cluster.Kubeconfig, 1)
	t.Logf("with a refused configuration:\n%s", text)
	wantTexts(t, text, "2 nodes: 1 ready, 1 refused; version "+oldVersion+"; configurations ", bad.Reason)

	missingNode, problems := runPlugin(ctx, t, cluster.Kubeconfig, 2, "no-such-node")
	wantTexts(t, problems, "node no-such-node: no pods of the agent found")
	if missingNode != "" {
		t.Errorf("a node without an agent prints %q, want nothing", missingNode)
	}

	t.Run("only pods of the namespace", func(t *testing.T) {
		limited := limitedUser(ctx, t)
		if _, problems := runPlugin(ctx, t, limited, 2, "-n", metav1.NamespaceSystem); !strings.Contains(problems, "forbidden") {
			t.Errorf("another namespace: %q, want that it is forbidden", problems)
		}
		f := awaitFleet(ctx, t, limited, 1, func(f fleet) error { return f.wantStates("refused", "ready") })
		if len(f.Notes) != 2 || f.Nodes[0].PullsFailing != nil {
			t.Errorf("a user that may only list pods of one namespace sees %+v, want two notes and no pulls", f)
		}
		text, _ := runPlugin(ctx, t, limited, 1)
		wantTexts(t, text, "not permitted", "note: ", bad.Reason)
	})
	install(ctx, t, oldVersion, goodValues())
}

// TestPluginStates shows nodes whose agents run and are not ready, that were taken out, and that
// lost their power.
func TestPluginStates(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	install(ctx, t, oldVersion, liveValues())
	first, second := cluster.Nodes[0], cluster.Nodes[1]
	configured := readNodeFile(t, first, nodeFile)
	setSecret(ctx, t, liveSecret, configured+"timeot: 3s\n")
	f := awaitFleet(ctx, t, cluster.Kubeconfig, 1, func(f fleet) error { return f.wantStates("refused", "refused") })
	for _, node := range f.Nodes {
		if !strings.Contains(node.Reason, "timeot") || node.Configuration != "live:"+liveSecret+"+"+loginSecret {
			t.Errorf("node %+v, want the reason of the agent, from the event of its probe", node)
		}
	}
	record(ctx, t, "unready")
	limited := awaitFleet(ctx, t, limitedUser(ctx, t), 1, func(f fleet) error { return f.wantStates("not-ready", "not-ready") })
	if len(limited.Notes) != 3 || limited.Nodes[0].Reason != "" {
		t.Errorf("a user that may not list events sees %+v, want a third note and no reason", limited)
	}
	setSecret(ctx, t, liveSecret, configured)
	awaitFleet(ctx, t, cluster.Kubeconfig, 0, func(f fleet) error { return f.wantStates("ready", "ready") })

	setLabel(ctx, t, first, enabledLabel, "false")
	defer setLabel(context.WithoutCancel(ctx), t, first, enabledLabel, "")
	awaitFleet(ctx, t, cluster.Kubeconfig, 0, func(f fleet) error {
		if got := f.node(first).State; got != "removed" {
			return fmt.Errorf("%s: state %s, want removed", first.Name, got)
		}
		return f.wantStates("removed", "ready")
	})
	record(ctx, t, "removed")

	second.PowerOff()
	awaitFleet(ctx, t, cluster.Kubeconfig, 1, func(f fleet) error { return f.wantStates("down", "removed") })
	recordPod(ctx, t, namespace, f.node(second).Pod, "down")
	if err := second.Boot(ctx); err != nil {
		t.Fatal(err)
	}
	if err := cluster.AwaitReady(ctx, second); err != nil {
		t.Fatal(err)
	}
	setLabel(ctx, t, first, enabledLabel, "")
	install(ctx, t, oldVersion, goodValues())
}

// limitedUser returns the kubeconfig of a service account that may list the pods of the agents'
// namespace, and nothing else.
func limitedUser(ctx context.Context, t *testing.T) string {
	t.Helper()
	meta := metav1.ObjectMeta{GenerateName: "plugin-"}
	account, err := shared.Client.CoreV1().ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	role, err := shared.Client.RbacV1().Roles(namespace).Create(ctx, &rbacv1.Role{
		ObjectMeta: meta,
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = shared.Client.RbacV1().RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account.Name, Namespace: namespace}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return kubeconfigOf(t, createToken(ctx, t, account.Name))
}
