package cluster

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image-cri-shim/e2e/cluster/bed"
)

// TestExistingSecret configures the nodes by Secrets of the administrator with the whole
// configuration and another file. The change is a Secret with another name. A file that it does
// not have is deleted on the nodes.
func TestExistingSecret(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	config := "address: http://" + bed.RegistryHost + "\nauth:\n  username: " + bed.RegistryUser + "\n  password: \"" + bed.RegistryPassword + "\"\n"
	ca := readNodeFile(t, cluster.Nodes[0], "/etc/kubernetes/pki/ca.crt")
	secrets := []struct {
		name  string
		files map[string]string
	}{
		{"shim-config-1", map[string]string{configuration: config, "ca.pem": ca}},
		{"shim-config-2", map[string]string{configuration: config + "timeout: 4s\n", "another.pem": ca}},
	}
	v := goodValues().with("config", values{}).with("authSecret", "")
	for _, secret := range secrets {
		createSecret(ctx, t, secret.name, secret.files)
		install(ctx, t, oldVersion, v.with("existingSecret", secret.name))
		for _, node := range cluster.Nodes {
			awaitServing(ctx, t, node, oldVersion)
			for name, file := range map[string]string{configuration: nodeFile, "ca.pem": extraFolder + "ca.pem", "another.pem": extraFolder + "another.pem"} {
				want, exists := secret.files[name]
				content, err := node.ReadFile(file)
				if exists && (err != nil || string(content) != want) || !exists && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: %s is not that of %s: %v", node.Name, file, secret.name, err)
				}
			}
		}
	}
	for _, node := range cluster.Nodes {
		runPublic(ctx, t, node) // with the password of the Secret
	}
}

// TestUnusedSecrets upgrades the configuration. The hook deletes the Secret with a configuration
// that no revision of the DaemonSet names, and keeps those of this revision and the one before.
func TestUnusedSecrets(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	install(ctx, t, oldVersion, goodValues())
	before := configurationSecrets(ctx, t)
	unused := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: daemonSet + "-unused", Labels: map[string]string{daemonSetLabel: daemonSet}}, Immutable: new(true)}
	if _, err := cluster.Client.CoreV1().Secrets(namespace).Create(ctx, unused, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	install(ctx, t, oldVersion, goodValues().with("files", values{"note": t.Name()}))
	after := configurationSecrets(ctx, t)
	if slices.Contains(after, unused.Name) {
		t.Errorf("%s remains", unused.Name)
	}
	for _, name := range before {
		if !slices.Contains(after, name) {
			t.Errorf("%s was deleted, although a rollback needs it", name)
		}
	}
	if len(after) != len(before)+1 {
		t.Errorf("the Secrets were %s, are %s, want one more", before, after)
	}
}

// daemonSetLabel marks the Secrets with configurations.
const daemonSetLabel = "image-cri-shim.io/daemonset"

func configurationSecrets(ctx context.Context, t *testing.T) (names []string) {
	t.Helper()
	secrets, err := shared.Client.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{LabelSelector: daemonSetLabel + "=" + daemonSet})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets.Items {
		names = append(names, secret.Name)
	}
	return names
}

// TestWaves installs the shim on the labelled node, and then on all.
func TestWaves(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	uninstall(ctx, t)
	first, second := cluster.Nodes[0], cluster.Nodes[1]
	setLabel(ctx, t, first, "image-cri-shim.io/wave", "canary")
	defer setLabel(ctx, t, first, "image-cri-shim.io/wave", "")
	kubelet := mainProcess(ctx, t, second, "kubelet")

	install(ctx, t, oldVersion, goodValues().with("waves", []string{"canary"}))
	awaitServing(ctx, t, first, oldVersion)
	runPublic(ctx, t, first)
	wantPristine(ctx, t, second)
	if now := mainProcess(ctx, t, second, "kubelet"); now != kubelet {
		t.Errorf("%s: the process of kubelet was %s, is %s", second.Name, kubelet, now)
	}

	install(ctx, t, oldVersion, goodValues())
	awaitServing(ctx, t, second, oldVersion)
	runPublic(ctx, t, second)
}

// TestPasswordsInValues requires that Helm refuses a password in the values before it changes
// anything, and that its message does not contain the password.
func TestPasswordsInValues(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	install(ctx, t, oldVersion, goodValues())
	history := func() string {
		t.Helper()
		output, err := cluster.Helm(ctx, "history", releaseName, "--namespace", namespace)
		if err != nil {
			t.Fatal(err)
		}
		return output
	}
	before := history()
	err := upgrade(ctx, t, oldVersion, goodValues().with("config", values{
		"address": "http://" + bed.RegistryHost, "auth": bed.RegistryUser + ":" + bed.RegistryPassword,
	}))
	if err == nil || !strings.Contains(err.Error(), "config.auth") || !strings.Contains(err.Error(), "authSecret") {
		t.Error("helm upgrade does not refuse the password, or does not name it and the documented way")
	}
	if err != nil && strings.Contains(err.Error(), bed.RegistryPassword) {
		t.Error("the message of Helm contains the password")
	}
	if after := history(); after != before {
		t.Errorf("the releases were\n%s\nare\n%s", before, after)
	}
}

// TestRegistryGate rolls out configurations with registries that no node reaches. registryGate
// decides which of them stop at the first node.
func TestRegistryGate(t *testing.T) {
	cluster, ctx := needCluster(t), testContext(t)
	install(ctx, t, oldVersion, goodValues())
	more := goodValues().with("config", values{
		"address": "http://" + bed.RegistryHost, "registries": []values{{"address": "http://" + bed.UnreachableHost}},
	})
	stops := func(v values, reason string) {
		t.Helper()
		if err := upgrade(ctx, t, oldVersion, v); err != nil {
			t.Fatal(err)
		}
		stopped := awaitReason(ctx, t, reason)
		for _, node := range cluster.Nodes {
			if node.Name != stopped {
				awaitServing(ctx, t, node, oldVersion)
			}
		}
	}
	// A new registry that is not reached stops only at the gate all.
	stops(more.with("registryGate", "all"), bed.UnreachableHost)
	wantConfiguration(t, false, bed.UnreachableHost)
	install(ctx, t, oldVersion, more)
	wantConfiguration(t, true, bed.UnreachableHost)

	// A registry that was reached before stops unless the gate is off.
	cluster.Registry.Stop()
	defer func() {
		if err := cluster.Registry.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}()
	stops(goodValues().with("config", values{"address": "http://" + bed.RegistryHost, "timeout": "4s"}), bed.RegistryHost)
	wantConfiguration(t, false, "timeout: 4s")
	install(ctx, t, oldVersion, goodValues().with("config", values{"address": "http://" + bed.RegistryHost, "timeout": "4s"}).with("registryGate", "off"))
	wantConfiguration(t, true, "timeout: 4s")
}
