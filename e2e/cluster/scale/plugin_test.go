package scale

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"image-cri-shim/e2e/cluster/bed"
)

// workload is the namespace of the pods that users would have.
const workload = "workload"

// TestPlugin shows the fleet with the plugin of kubectl, while PODS (30) pods run on each
// simulated node, and one pod on each tenth of them waits for its image.
func TestPlugin(t *testing.T) {
	ctx := testContext(t)
	install(ctx, t, goodValues())
	pods, err := number("PODS", 30)
	if err != nil {
		t.Fatal(err)
	}
	for _, without := range []bool{true, false} {
		failing := 0
		if !without {
			failing = createWorkload(ctx, t, pods)
		}
		for _, format := range []string{"text", "json"} {
			var output string
			var memory int64
			name := fmt.Sprintf("kubectl image-cri-shim -o %s, %d pods", format, nodes())
			if !without {
				name = fmt.Sprintf("kubectl image-cri-shim -o %s, %d pods", format, nodes()+pods*simulated)
			}
			measure(ctx, t, name, func() { output, memory, err = shared.ShowFleet(ctx, "--output", format) })
			if err != nil {
				t.Fatalf("%v\n%.2000s", err, output)
			}
			t.Logf("measured %s: %d MiB of memory", name, memory>>20)
			if format == "json" {
				requireShown(t, output, failing)
			}
		}
	}
	if err := shared.Client.CoreV1().Namespaces().Delete(ctx, workload, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// requireShown fails the test unless the plugin shows all nodes as ready, with a number of pulls
// that fail.
func requireShown(t *testing.T, output string, failing int) {
	t.Helper()
	type summary struct{ Nodes, Ready, PullsFailing int }
	var shown struct {
		Nodes   []struct{ Node string }
		Summary summary
	}
	if err := json.Unmarshal([]byte(output), &shown); err != nil {
		t.Fatal(err)
	}
	if want := (summary{nodes(), nodes(), failing}); shown.Summary != want || len(shown.Nodes) != nodes() {
		t.Errorf("the plugin shows %d nodes and %+v, want %+v", len(shown.Nodes), shown.Summary, want)
	}
}

// createWorkload creates pods on the simulated nodes, and returns the number of those that wait
// for their image.
func createWorkload(ctx context.Context, t *testing.T, each int) (failing int) {
	t.Helper()
	client, err := shared.FastClient()
	if err == nil {
		_, err = client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: workload}}, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for node := range simulated {
		for number := range each {
			label := "runs"
			if number == 0 && node%10 == 0 {
				label = "waits"
				failing++
			}
			group.Go(func() error { return createPod(groupCtx, client, node, number, label) })
		}
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := bed.AwaitEvery(ctx, 5*time.Second, func(ctx context.Context) error { return checkWorkload(ctx, client, failing) }); err != nil {
		t.Fatal(err)
	}
	return failing
}

// createPod creates a pod on a simulated node, as large as the usual ones.
func createPod(ctx context.Context, client kubernetes.Interface, node, number int, label string) error {
	container := corev1.Container{Name: "main", Image: fmt.Sprintf("docker.io/library/workload-%d:1.25", number)}
	for variable := range 20 {
		container.Env = append(container.Env, corev1.EnvVar{Name: fmt.Sprintf("VARIABLE_%d", variable), Value: "a value of a usual length"})
	}
	_, err := client.CoreV1().Pods(workload).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("workload-%05d-%d", node, number), Labels: map[string]string{"workload": label}},
		Spec: corev1.PodSpec{
			NodeName:                     bed.SimulatedName(node),
			Containers:                   []corev1.Container{container},
			Tolerations:                  []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			AutomountServiceAccountToken: new(false),
		},
	}, metav1.CreateOptions{})
	return err
}

// checkWorkload returns an error if kwok has not set the status of all pods.
func checkWorkload(ctx context.Context, client kubernetes.Interface, failing int) error {
	list, err := client.CoreV1().Pods(workload).List(ctx, metav1.ListOptions{FieldSelector: "status.phase=Pending"})
	if err != nil {
		return err
	}
	waiting := 0
	for _, pod := range list.Items {
		waiting += len(pod.Status.ContainerStatuses)
	}
	if waiting != failing || len(list.Items) != failing {
		return fmt.Errorf("%d pods are pending and %d wait for an image, want %d", len(list.Items), waiting, failing)
	}
	return nil
}
