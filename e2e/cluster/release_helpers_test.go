package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"image-cri-shim/e2e/cluster/bed"
)

// The names of the release and its objects, and the versions of the agent that `make
// test-cluster` builds.
const (
	namespace   = "image-cri-shim"
	releaseName = "shim"
	daemonSet   = "shim-image-cri-shim"
	loginSecret = "registry-login"
	oldVersion  = "v0.1.0"
	newVersion  = "v0.2.0"

	enabledLabel = "image-cri-shim.io/enabled"
)

// values are the values of the chart.
type values map[string]any

// goodValues returns values that work, with the short times of a test.
func goodValues() values {
	return values{
		"image":           values{"repository": bed.RegistryHost + "/" + bed.AgentRepository, "pullSecrets": []string{loginSecret}},
		"authSecret":      loginSecret,
		"config":          values{"address": "http://" + bed.RegistryHost},
		"jitter":          "1s",
		"minReadySeconds": 1,
		"extraArgs":       []string{"--interval=5s"},
	}
}

// with returns a copy of the values with another value.
func (v values) with(key string, value any) values {
	changed := values{key: value}
	for name, old := range v {
		if name != key {
			changed[name] = old
		}
	}
	return changed
}

// upgrade installs or upgrades the release, and returns Helm's error.
func upgrade(ctx context.Context, t *testing.T, version string, v values, arguments ...string) error {
	t.Helper()
	chart, err := bed.Chart(version)
	if err != nil {
		t.Fatal(err)
	}
	content, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "values.json")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = shared.Helm(ctx, append([]string{"upgrade", "--install", releaseName, chart, "--namespace", namespace, "--values", file}, arguments...)...)
	return err
}

// install brings the release to a version and values on all its nodes. It waits until the agents
// are ready and kubelet has probed them since: kubelet 1.37 reports a young pod as ready after its
// own restart until two probes have failed. Then the pod is not ready, and a DaemonSet replaces
// such pods all at once.
func install(ctx context.Context, t *testing.T, version string, v values) {
	t.Helper()
	if err := upgrade(ctx, t, version, v); err != nil {
		t.Fatal(err)
	}
	awaitRollout(ctx, t, daemonSet)
	pods, err := agentPods(ctx, "agent")
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range shared.Nodes {
		if pod, found := pods[node.Name]; found {
			awaitServing(ctx, t, node, version)
			if err := shared.AwaitProbed(ctx, &pod); err != nil {
				t.Fatalf("%v\n%s", err, agentState(ctx))
			}
		}
	}
	awaitRollout(ctx, t, daemonSet)
}

// prepareNamespace creates the namespace with the login of the registry.
func prepareNamespace(ctx context.Context, cluster *bed.Cluster) error {
	_, err := cluster.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return cluster.CreateLogin(ctx, namespace, loginSecret)
}

// uninstall removes the release if it is installed.
func uninstall(ctx context.Context, t *testing.T) {
	t.Helper()
	if output, err := shared.Helm(ctx, "uninstall", releaseName, "--namespace", namespace, "--timeout", "3m"); err != nil && !strings.Contains(output, "not found") {
		t.Fatalf("%v\n%s", err, agentState(ctx))
	}
}

// awaitRollout waits until a DaemonSet has ready pods of its current version on all its nodes.
func awaitRollout(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	err := bed.Await(ctx, func(ctx context.Context) error {
		set, err := shared.Client.AppsV1().DaemonSets(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		status := set.Status
		if status.ObservedGeneration != set.Generation || status.UpdatedNumberScheduled != status.DesiredNumberScheduled ||
			status.NumberAvailable != status.DesiredNumberScheduled || status.CurrentNumberScheduled != status.DesiredNumberScheduled {
			return fmt.Errorf("the DaemonSet %s is not rolled out: %+v", name, status)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, agentState(ctx))
	}
}

// agentPods returns the pods of a component of the release, agent or remove, by node.
func agentPods(ctx context.Context, component string) (map[string]corev1.Pod, error) {
	list, err := shared.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=" + component})
	if err != nil {
		return nil, err
	}
	pods := make(map[string]corev1.Pod)
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil {
			pods[pod.Spec.NodeName] = pod
		}
	}
	return pods, nil
}

// agentState describes the pods of the release, for the message of a failure.
func agentState(ctx context.Context) string {
	ctx = context.WithoutCancel(ctx)
	list, err := shared.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	var text strings.Builder
	for _, pod := range list.Items {
		fmt.Fprintf(&text, "--- %s on %s: %s %v\n", pod.Name, pod.Spec.NodeName, pod.Status.Phase, bed.CheckRunning(&pod))
		log, err := shared.Client.CoreV1().Pods(namespace).GetLogs(pod.Name, &corev1.PodLogOptions{TailLines: new(int64(30))}).DoRaw(ctx)
		fmt.Fprintf(&text, "%s%v\n", log, err)
	}
	events, err := shared.Client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	slices.SortFunc(events.Items, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
	for _, event := range events.Items[max(0, len(events.Items)-40):] {
		fmt.Fprintf(&text, "%s %s %s (%d): %s\n", event.LastTimestamp.Format(time.TimeOnly), event.InvolvedObject.Name, event.Reason, event.Count, event.Message)
	}
	return text.String()
}

// status is the part of the agent's status file that tests need.
type status struct {
	Updated          time.Time `json:"updated"`
	Hash             string    `json:"hash"`
	Process          int       `json:"pid"`
	Ready            bool      `json:"ready"`
	Reason           string    `json:"reason"`
	Step             string    `json:"step"`
	Serving          string    `json:"serving"`
	KubeletConnected bool      `json:"kubeletConnected"`
	KubeletRestarts  int       `json:"kubeletRestarts"`
	Doctor           []string  `json:"doctor"`
	Removed          bool      `json:"removed"`
	Drift            *struct {
		Count int      `json:"count"`
		Found []string `json:"found"`
	} `json:"drift"`
}

// readStatus reads the agent's status on a node.
func readStatus(node *bed.Node) (s status, err error) {
	content, err := node.ReadFile(statusFile)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(content, &s)
}

// awaitServing waits until the agent is ready, a version serves on a node, and kubelet uses it.
func awaitServing(ctx context.Context, t *testing.T, node *bed.Node, version string) {
	t.Helper()
	if err := bed.Await(ctx, func(context.Context) error {
		s, err := readStatus(node)
		if err == nil && !(s.Ready && s.Serving == version && s.KubeletConnected) {
			err = fmt.Errorf("the status is %+v", s)
		}
		return err
	}); err != nil {
		t.Fatalf("%s does not serve %s: %v\n%s", node.Name, version, err, agentState(ctx))
	}
}

// setLabel sets or, if value is empty, removes a label of a node.
func setLabel(ctx context.Context, t *testing.T, node *bed.Node, label, value string) {
	t.Helper()
	patch := values{"metadata": values{"labels": values{label: nil}}}
	if value != "" {
		patch = values{"metadata": values{"labels": values{label: value}}}
	}
	content, err := json.Marshal(patch)
	if err == nil {
		_, err = shared.Client.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, content, metav1.PatchOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// runPublic runs a pod with a public name on a node, which only the shim can pull.
func runPublic(ctx context.Context, t *testing.T, node *bed.Node) {
	t.Helper()
	publicPods++
	repository := fmt.Sprintf("library/public:%d", publicPods)
	pod := bed.Pod(fmt.Sprintf("public-%d", publicPods), "docker.io/"+repository, node)
	err := errors.Join(shared.Push(ctx, repository), shared.Create(ctx, pod))
	if err == nil {
		err = shared.AwaitRunning(ctx, pod)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", node.Name, err, node.Log(context.WithoutCancel(ctx), "image-cri-shim", "kubelet"))
	}
	if err := shared.Delete(ctx, pod); err != nil {
		t.Fatal(err)
	}
}

// publicPods is the number of pods of [runPublic]. Each has an image of its own.
var publicPods int
