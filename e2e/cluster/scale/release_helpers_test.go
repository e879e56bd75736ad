package scale

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"image-cri-shim/e2e/cluster/bed"
)

const (
	namespace   = "image-cri-shim"
	releaseName = "shim"
	daemonSet   = "shim-image-cri-shim"
	loginSecret = "registry-login"
	version     = "v0.2.0" // of the agent and the chart, which `make test-scale` builds
)

// values are the values of the chart.
type values map[string]any

// badConfig is a configuration that the agent on the real node refuses too: no registry answers.
var badConfig = values{"address": "http://" + bed.UnreachableHost}

// goodConfig returns a configuration that works. Those of different numbers differ.
func goodConfig(number int) values {
	return values{"address": "http://" + bed.RegistryHost, "timeout": fmt.Sprintf("%dms", 4000+number)}
}

func goodValues() values {
	return values{
		"image":           values{"repository": bed.RegistryHost + "/" + bed.AgentRepository, "pullSecrets": []string{loginSecret}},
		"authSecret":      loginSecret,
		"config":          goodConfig(0),
		"jitter":          "1s",
		"minReadySeconds": 1,
		"hooks":           values{"removalTimeout": removalTimeout(simulated).String()},
	}
}

// with returns a copy of the values with another value.
func (v values) with(key string, value any) values {
	changed := maps.Clone(v)
	changed[key] = value
	return changed
}

// arguments writes the values to a file, and returns the arguments with which Helm reads it.
func (v values) arguments() ([]string, error) {
	chart, err := bed.Chart(version)
	if err != nil {
		return nil, err
	}
	content, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp("", "values-*.json")
	if err != nil {
		return nil, err
	}
	_, err = file.Write(content)
	return []string{chart, "--namespace", namespace, "--values", file.Name()}, errors.Join(err, file.Close())
}

// secretName returns the name that the chart gives to the Secret with the configuration.
func secretName(ctx context.Context, v values) (string, error) {
	arguments, err := v.arguments()
	if err != nil {
		return "", err
	}
	rendered, err := bed.Helm(ctx, append([]string{"template", releaseName, "--kube-version", "1.37", "--show-only", "templates/configuration.yaml"}, arguments...)...)
	if err != nil {
		return "", err
	}
	var secret corev1.Secret
	if err := yaml.Unmarshal([]byte(rendered), &secret); err != nil || secret.Name == "" {
		return "", fmt.Errorf("find the Secret in %q: %w", rendered, err)
	}
	return secret.Name, nil
}

// upgrade installs or upgrades the release.
func upgrade(ctx context.Context, t *testing.T, v values, more ...string) {
	t.Helper()
	arguments, err := v.arguments()
	if err == nil {
		_, err = shared.Helm(ctx, append(append([]string{"upgrade", "--install", releaseName}, arguments...), more...)...)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// install brings the release to values on all nodes.
func install(ctx context.Context, t *testing.T, v values) {
	t.Helper()
	upgrade(ctx, t, v.with("maxUnavailable", "100%"))
	awaitAgents(ctx, t, rolledOut(nodes()))
}

// removalTimeout returns the limit for the removal, as documented: that of the chart for up to
// 1,500 nodes.
func removalTimeout(nodes int) time.Duration {
	return max(270*time.Second, time.Duration(nodes)*time.Second/10+2*time.Minute)
}

// uninstall removes the release, within the limit of its removal.
func uninstall(ctx context.Context, t *testing.T) {
	t.Helper()
	output, err := shared.Helm(ctx, "uninstall", releaseName, "--namespace", namespace, "--timeout", (removalTimeout(nodes()) + 30*time.Second).String())
	if err != nil && !strings.Contains(output, "not found") {
		t.Fatal(err)
	}
	t.Log(output)
	awaitNoPods(ctx, t)
}

// awaitNoPods waits until no pod of the release is left.
func awaitNoPods(ctx context.Context, t *testing.T) {
	t.Helper()
	err := bed.AwaitEvery(ctx, time.Second, func(ctx context.Context) error {
		pods, err := shared.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=" + releaseName, Limit: 1})
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("the pod %s is still there", pods.Items[0].Name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func prepareNamespace(ctx context.Context, fleet *bed.Fleet) error {
	_, err := fleet.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	return errors.Join(err, fleet.CreateLogin(ctx, namespace, loginSecret), fleet.PushAgent(ctx, version))
}

// nodes returns the number of all nodes of the fleet.
func nodes() int { return simulated + len(shared.Nodes) }

// awaitAgents waits until condition returns nil for the agent's DaemonSet.
func awaitAgents(ctx context.Context, t *testing.T, condition func(appsv1.DaemonSetStatus) error) {
	t.Helper()
	var last *appsv1.DaemonSet
	err := bed.AwaitEvery(ctx, time.Second, func(ctx context.Context) error {
		var err error
		last, err = shared.Client.AppsV1().DaemonSets(namespace).Get(ctx, daemonSet, metav1.GetOptions{})
		if err == nil && last.Status.ObservedGeneration != last.Generation {
			err = errors.New("the DaemonSet's change is not observed")
		}
		if err == nil {
			err = condition(last.Status)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// rolledOut returns a condition: all of a number of agents are ready with the current revision.
func rolledOut(number int) func(appsv1.DaemonSetStatus) error {
	return func(s appsv1.DaemonSetStatus) error {
		if n := int32(number); s.DesiredNumberScheduled != n || s.UpdatedNumberScheduled != n || s.NumberAvailable != n {
			return fmt.Errorf("%d agents are desired, %d updated, %d available; want %d", s.DesiredNumberScheduled, s.UpdatedNumberScheduled, s.NumberAvailable, n)
		}
		return nil
	}
}

// agentPods lists the pods of the agent.
func agentPods(ctx context.Context, t *testing.T) []corev1.Pod {
	t.Helper()
	list, err := shared.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=agent"})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// secretOf returns the name of the Secret with a pod's configuration.
func secretOf(pod corev1.PodSpec) string {
	for _, volume := range pod.Volumes {
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			if source.Secret != nil && strings.HasPrefix(source.Secret.Name, daemonSet+"-") {
				return source.Secret.Name
			}
		}
	}
	return ""
}
