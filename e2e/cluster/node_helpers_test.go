package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"image-cri-shim/e2e/cluster/bed"
)

// The files on a node, and the key of the configuration in a Secret.
const (
	nodeFile      = "/etc/image-cri-shim.yaml"
	extraFolder   = "/etc/image-cri-shim/"
	statusFile    = "/run/image-cri-shim-agent/status.json"
	configuration = "image-cri-shim.yaml"
)

// setSecret sets the configuration in a Secret.
func setSecret(ctx context.Context, t *testing.T, name, content string) {
	t.Helper()
	patch, err := json.Marshal(values{"data": map[string][]byte{configuration: []byte(content)}})
	if err == nil {
		_, err = shared.Client.CoreV1().Secrets(namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// awaitUnready waits until the agent's pod on a node runs, is not ready, and both its status
// and an event of its readiness probe have a reason.
func awaitUnready(ctx context.Context, t *testing.T, node *bed.Node, reason string) {
	t.Helper()
	if err := bed.Await(ctx, func(ctx context.Context) error {
		s, err := readStatus(node)
		if err != nil {
			return err
		}
		if s.Ready || !strings.Contains(s.Reason, reason) {
			return fmt.Errorf("the status is %+v, want the reason %q", s, reason)
		}
		pods, err := agentPods(ctx, "agent")
		if err != nil {
			return err
		}
		pod := pods[node.Name]
		if len(pod.Status.ContainerStatuses) == 0 || pod.Status.ContainerStatuses[0].State.Running == nil || bed.CheckRunning(&pod) == nil {
			return fmt.Errorf("the pod on %s is not both running and unready: %+v", node.Name, pod.Status)
		}
		events, err := shared.Client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=Unhealthy,involvedObject.uid=" + string(pod.UID)})
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(events.Items, func(e corev1.Event) bool { return strings.Contains(e.Message, reason) }) {
			return fmt.Errorf("no event of the pod on %s has the reason %q", node.Name, reason)
		}
		return nil
	}); err != nil {
		t.Fatalf("%v\n%s", err, agentState(ctx))
	}
}

// awaitCheck waits until the agent of a node has checked it twice since a time.
func awaitCheck(ctx context.Context, t *testing.T, node *bed.Node, since time.Time) {
	t.Helper()
	for range 2 {
		var s status
		if err := bed.Await(ctx, func(context.Context) (err error) {
			if s, err = readStatus(node); err == nil && !s.Updated.After(since) {
				err = fmt.Errorf("%s: the last check was at %v", node.Name, s.Updated)
			}
			return err
		}); err != nil {
			t.Fatalf("%v\n%s", err, agentState(ctx))
		}
		since = s.Updated.Add(time.Second) // a check updates the status with each step
	}
}

// awaitContent waits until a file of a node contains a text.
func awaitContent(ctx context.Context, t *testing.T, node *bed.Node, file, text string) {
	t.Helper()
	if err := bed.Await(ctx, func(context.Context) error {
		content, err := node.ReadFile(file)
		if err == nil && !strings.Contains(string(content), text) {
			err = fmt.Errorf("it does not contain %q", text)
		}
		return err
	}); err != nil {
		t.Fatalf("%s: %s: %v\n%s", node.Name, file, err, agentState(ctx))
	}
}

// readNodeFile returns the content of a file of a node.
func readNodeFile(t *testing.T, node *bed.Node, file string) string {
	t.Helper()
	content, err := node.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// shimProcesses returns the process ID of the shim on each node.
func shimProcesses(ctx context.Context, t *testing.T) (processes []string) {
	t.Helper()
	for _, node := range shared.Nodes {
		processes = append(processes, mainProcess(ctx, t, node, "image-cri-shim"))
	}
	return processes
}

// startedAgents returns the IDs of the agents' containers, by node.
func startedAgents(ctx context.Context) (map[string]string, error) {
	pods, err := agentPods(ctx, "agent")
	containers := make(map[string]string)
	for node, pod := range pods {
		for _, container := range pod.Status.ContainerStatuses {
			containers[node] = container.ContainerID
		}
	}
	return containers, err
}

// deleteAgent deletes the agent's pod on a node, so that another one starts.
func deleteAgent(ctx context.Context, t *testing.T, node *bed.Node) {
	t.Helper()
	pods, err := agentPods(ctx, "agent")
	if err == nil {
		pod := pods[node.Name]
		err = shared.Delete(ctx, &pod)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// createSecret creates a Secret of the namespace, and deletes it after the test.
func createSecret(ctx context.Context, t *testing.T, name string, data map[string]string) {
	t.Helper()
	secrets := shared.Client.CoreV1().Secrets(namespace)
	if _, err := secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: data}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := secrets.Delete(context.WithoutCancel(ctx), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// failingKubelet is a drop-in with which kubelet fails once it is pointed at the shim.
const failingFolder, failingKubelet = "/etc/systemd/system/kubelet.service.d", "[Service]\nRestartSec=1\nExecStartPre=/bin/sh -c '! grep image-cri-shim /var/lib/kubelet/config.yaml'\n"

// failKubelet lets kubelet of a node fail once it is pointed at the shim.
func failKubelet(ctx context.Context, t *testing.T, node *bed.Node) {
	t.Helper()
	if err := errors.Join(
		os.MkdirAll(node.Path(failingFolder), 0o755),
		os.WriteFile(node.Path(failingFolder+"/90-fail.conf"), []byte(failingKubelet), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Run(ctx, "systemctl", "daemon-reload"); err != nil {
		t.Fatal(err)
	}
}

// restoreKubelet removes the drop-in of failKubelet.
func restoreKubelet(ctx context.Context, t *testing.T, node *bed.Node) {
	t.Helper()
	if err := os.RemoveAll(node.Path(failingFolder)); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Run(ctx, "systemctl", "daemon-reload"); err != nil {
		t.Fatal(err)
	}
}
