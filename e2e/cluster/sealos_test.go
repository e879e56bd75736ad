package cluster

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image-cri-shim/e2e/cluster/bed"
)

const sealosName, sealosKey = "image-cri-shim", "registries.yaml" // of the ConfigMap in kube-system

// sealosRegistries is the text of the ConfigMap in the form of sealos, with a registry that is
// not reached before the main one in the order of priorities.
const sealosRegistries = `sealos:
  address: http://` + bed.RegistryHost + `
  auth:
    username: ` + bed.RegistryUser + `
    password: "` + bed.RegistryPassword + `"
registries:
  - address: http://` + bed.UnreachableHost + `
    auth:
      username: ` + bed.RegistryUser + `
      password: "` + bed.RegistryPassword + `"
    priority: 10000
`

// TestSealosConfigMap configures the nodes by the ConfigMap of sealos, whose password only the
// ConfigMap has. A change is applied within seconds, and a refused one changes nothing. No log,
// event or status contains the password.
func TestSealosConfigMap(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	maps := cluster.Client.CoreV1().ConfigMaps(metav1.NamespaceSystem)
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: sealosName}, Data: map[string]string{sealosKey: sealosRegistries}}
	if _, err := maps.Create(ctx, object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := maps.Delete(context.WithoutCancel(ctx), sealosName, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}()
	set := func(registries string) {
		t.Helper()
		object.Data[sealosKey] = registries
		if _, err := maps.Update(ctx, object, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	v := goodValues().with("authSecret", "").with("config", values{"timeout": "3s"}).
		with("compatibility", values{"sealosConfigMap": true})
	install(ctx, t, oldVersion, v)
	for _, node := range cluster.Nodes {
		awaitServing(ctx, t, node, oldVersion)
		for _, want := range []string{"timeout: 3s", "address: http://" + bed.RegistryHost, "priority: 10000", bed.RegistryPassword} {
			if !strings.Contains(readNodeFile(t, node, nodeFile), want) {
				t.Errorf("%s: the configuration does not contain %q", node.Name, want)
			}
		}
		runPublic(ctx, t, node)
	}
	set(strings.Replace(sealosRegistries, "10000", "9999", 1))
	limited, cancel := context.WithTimeout(ctx, seconds)
	defer cancel()
	for _, node := range cluster.Nodes {
		awaitContent(limited, t, node, nodeFile, "priority: 9999")
	}
	for refused, reason := range map[string]string{
		strings.ReplaceAll(sealosRegistries, "username", "usernam"):                            "usernam",
		strings.Replace(sealosRegistries, "priority: 10000", "auth: "+bed.RegistryPassword, 1): "auth",
	} {
		set(refused)
		for _, node := range cluster.Nodes {
			awaitUnready(ctx, t, node, reason)
			awaitContent(ctx, t, node, nodeFile, "priority: 9999")
		}
	}
	wantNoPassword(ctx, t)
	set(sealosRegistries)
	for _, node := range cluster.Nodes {
		awaitServing(ctx, t, node, oldVersion)
	}
	wantNoPassword(ctx, t)
}

// wantNoPassword requires that the password of the registry is in no log of the nodes and their
// pods, in no status of the agents, in no pod and in no event. The configuration, which has it,
// is readable only by root.
func wantNoPassword(ctx context.Context, t *testing.T) {
	t.Helper()
	login := bed.RegistryUser + ":" + bed.RegistryPassword
	forms := []string{bed.RegistryPassword, base64.StdEncoding.EncodeToString([]byte(bed.RegistryPassword)), base64.StdEncoding.EncodeToString([]byte(login))}
	check := func(place, text string) {
		t.Helper()
		if text == "" {
			t.Errorf("%s is empty, so the test shows nothing", place)
		}
		for _, form := range forms {
			if strings.Contains(text, form) {
				t.Errorf("%s contains the password", place)
			}
		}
	}
	for _, node := range shared.Nodes {
		journal, err := node.Run(ctx, "journalctl", "--no-pager", "--all", "--output=export")
		if err != nil {
			t.Fatal(err)
		}
		check(node.Name+": the journal", journal)
		logs, err := node.Run(ctx, "find", "/var/log/pods", "-type", "f", "-exec", "cat", "{}", "+")
		if err != nil {
			t.Fatal(err)
		}
		check(node.Name+": the logs of the pods", logs)
		check(node.Name+": the status", readNodeFile(t, node, statusFile))
		if mode, err := node.Run(ctx, "stat", "--format", "%U %a", nodeFile); err != nil || mode != "root 600" {
			t.Errorf("%s: the owner and mode of the configuration are %s, %v", node.Name, mode, err)
		}
	}
	events, err := shared.Client.CoreV1().Events("").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	check("an event", fmt.Sprint(events.Items))
	pods, err := shared.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	check("a pod", fmt.Sprint(pods.Items))
}
