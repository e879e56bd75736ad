package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"image-cri-shim/e2e/cluster/bed"
)

// fleet is the part of the plugin's JSON that tests need.
type fleet struct {
	Nodes []fleetNode `json:"nodes"`
	Notes []string    `json:"notes"`
}

type fleetNode struct {
	Node          string `json:"node"`
	Release       string `json:"release"`
	Pod           string `json:"pod"`
	Version       string `json:"version"`
	Configuration string `json:"configuration"`
	State         string `json:"state"`
	Ready         bool   `json:"ready"`
	Reason        string `json:"reason"`
	PullsFailing  *int   `json:"pullsFailing"`
}

// wantStates returns an error unless the nodes have these states, in the order of the plugin.
func (f fleet) wantStates(want ...string) error {
	var got []string
	for _, node := range f.Nodes {
		got = append(got, node.State)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("the states are %q, want %q: %+v", got, want, f)
	}
	return nil
}

// node returns the row of a node.
func (f fleet) node(node *bed.Node) fleetNode {
	for _, row := range f.Nodes {
		if row.Node == node.Name {
			return row
		}
	}
	return fleetNode{}
}

// awaitFleet runs the plugin until its JSON fulfills a condition, and requires its exit code.
func awaitFleet(ctx context.Context, t *testing.T, kubeconfig string, code int, condition func(fleet) error) (f fleet) {
	t.Helper()
	if err := bed.Await(ctx, func(ctx context.Context) error {
		stdout, stderr, got, err := shared.Plugin(ctx, kubeconfig, "-o", "json")
		if err != nil {
			return err
		}
		f = fleet{}
		if err := json.Unmarshal([]byte(stdout), &f); err != nil {
			return fmt.Errorf("%w: exit code %d: %s%s", err, got, stdout, stderr)
		}
		if err := condition(f); err != nil {
			return err
		}
		if got != code {
			return fmt.Errorf("exit code %d, want %d: %s%s", got, code, stdout, stderr)
		}
		return nil
	}); err != nil {
		t.Fatalf("%v\n%s", err, agentState(ctx))
	}
	return f
}

// runPlugin runs the plugin once, and requires its exit code.
func runPlugin(ctx context.Context, t *testing.T, kubeconfig string, code int, arguments ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, got, err := shared.Plugin(ctx, kubeconfig, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	if got != code {
		t.Errorf("kubectl image-cri-shim %q: exit code %d, want %d\n%s%s", arguments, got, code, stdout, stderr)
	}
	return stdout, stderr
}

func wantTexts(t *testing.T, output string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(output, text) {
			t.Errorf("the output has no %q:\n%s", text, output)
		}
	}
}

// kubeconfigOf writes a kubeconfig with a token and a context in the namespace of the agents.
func kubeconfigOf(t *testing.T, token string) string {
	t.Helper()
	config := api.NewConfig()
	config.Clusters["bed"] = &api.Cluster{Server: shared.Config.Host, CertificateAuthorityData: shared.Config.CAData}
	config.AuthInfos["limited"] = &api.AuthInfo{Token: token}
	config.Contexts["limited"] = &api.Context{Cluster: "bed", AuthInfo: "limited", Namespace: namespace}
	config.CurrentContext = "limited"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// recordVariable names a folder for the pods that kubelet writes: the objects of the tests in
// kubectl/fleet/testdata.
const recordVariable = "PLUGIN_PODS"

// record writes the pods of the release, one file for each, if recordVariable is set.
func record(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	if os.Getenv(recordVariable) == "" {
		return
	}
	pods, err := shared.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods.Items {
		recordPod(ctx, t, namespace, pod.Name, name+"-"+pod.Spec.NodeName)
	}
	events, err := shared.Client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=Unhealthy"})
	if err != nil {
		t.Fatal(err)
	}
	writeRecord(t, name+"-events", events)
}

func recordPod(ctx context.Context, t *testing.T, space, pod, name string) {
	t.Helper()
	if os.Getenv(recordVariable) == "" {
		return
	}
	object, err := shared.Client.CoreV1().Pods(space).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	object.ManagedFields = nil
	writeRecord(t, name, object)
}

func writeRecord(t *testing.T, name string, object any) {
	t.Helper()
	content, err := json.MarshalIndent(object, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(os.Getenv(recordVariable), name+".json"), append(content, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
