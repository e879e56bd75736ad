package chart

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"image-cri-shim/agent/cluster"
)

// TestPruneHook requires that old Secrets are deleted after upgrades and rollbacks, that the
// present one is kept, and that no right stays afterwards.
func TestPruneHook(t *testing.T) {
	rendered := render(t, "config: {address: 'http://hub'}")
	job := find[*batchv1.Job](t, rendered.hooks, "Job/test-image-cri-shim-prune")
	wantJob(t, job, "hook", "prune", "--timeout=2m", "--namespace=shims", "--daemonset=test-image-cri-shim", "--keep="+rendered.secret(t).Name)
	wantRules(t, rendered, job,
		"shims [get] [daemonsets] [test-image-cri-shim]",
		"shims [list delete] [secrets] []",
		"shims [list] [controllerrevisions] []",
		"shims [list] [pods] []")
	wantHooks(t, rendered, "post-upgrade,post-rollback", "RoleBinding", "ServiceAccount", "Role", "Job")
	for _, values := range []string{"existingSecret: mine", "live: true"} {
		args := find[*batchv1.Job](t, render(t, values).hooks, "Job/test-image-cri-shim-prune").Spec.Template.Spec.Containers[0].Args
		if strings.Contains(strings.Join(args, " "), "--keep") {
			t.Errorf("%s: arguments %q, want none with --keep", values, args)
		}
	}
}

// TestUninstallHook requires that a DaemonSet on all nodes removes the shim, and that a Job
// waits for it.
func TestUninstallHook(t *testing.T) {
	rendered := render(t, "waves: [canary]")
	job := find[*batchv1.Job](t, rendered.hooks, "Job/test-image-cri-shim-await-removal")
	wantJob(t, job, "hook", "await-removal", "--timeout=4m30s", "--namespace=shims", "--daemonset=test-image-cri-shim")
	wantRules(t, rendered, job,
		"* [list] [nodes] []",
		"shims [get delete] [daemonsets] [test-image-cri-shim-remove]",
		"shims [list delete] [secrets] []",
		"shims [list] [pods] []")
	if job.Annotations["helm.sh/hook-output-log-policy"] != "hook-succeeded,hook-failed" {
		t.Error("Helm does not print the names of nodes that are down")
	}
	wantHooks(t, rendered, "post-delete", "RoleBinding", "ServiceAccount", "Role", "ClusterRole", "ClusterRoleBinding", "DaemonSet", "Job")

	removal := find[*appsv1.DaemonSet](t, rendered.hooks, "DaemonSet/test-image-cri-shim-remove")
	wantHostPod(t, removal)
	if got := nodes(removal); len(got) != 2 {
		t.Errorf("nodes %v, want all", got)
	}
	wantProbedRemoval(t, removal)
}

// wantProbedRemoval requires that a pod is available only after kubelet has probed it since the
// restart of kubelet in its removal: after a wait of up to a period, the probe, and the next ones
// up to the threshold (k8s.io/kubernetes/pkg/kubelet/prober/worker.go).
func wantProbedRemoval(t *testing.T, removal *appsv1.DaemonSet) {
	t.Helper()
	probe := removal.Spec.Template.Spec.Containers[0].ReadinessProbe
	longest := probe.PeriodSeconds*probe.FailureThreshold + probe.TimeoutSeconds
	if removal.Spec.MinReadySeconds <= longest {
		t.Errorf("minReadySeconds is %d, want more than %d", removal.Spec.MinReadySeconds, longest)
	}
}

// TestReinstallAdoptsTheRemoval requires that a DaemonSet that an uninstallation has left for
// nodes that are down is the one that a new release has: Helm then limits it to labeled nodes.
func TestReinstallAdoptsTheRemoval(t *testing.T) {
	rendered := render(t, "")
	left, own := find[*appsv1.DaemonSet](t, rendered.hooks, "DaemonSet/test-image-cri-shim-remove"), rendered.removal(t)
	if !reflect.DeepEqual(left.Spec.Selector, own.Spec.Selector) {
		t.Errorf("selector %v, want %v", left.Spec.Selector, own.Spec.Selector)
	}
	if left.Labels["app.kubernetes.io/managed-by"] != "Helm" || left.Annotations["meta.helm.sh/release-name"] != "test" || left.Annotations["meta.helm.sh/release-namespace"] != "shims" {
		t.Errorf("labels %v, annotations %v, want those of Helm", left.Labels, left.Annotations)
	}
	if left.Labels[cluster.ConfigurationLabel] != "test-image-cri-shim" {
		t.Errorf("labels %v, want the DaemonSet's name", left.Labels)
	}
	left.Spec.Template.Spec.Affinity = own.Spec.Template.Spec.Affinity
	if !reflect.DeepEqual(left.Spec, own.Spec) {
		t.Error("the two differ in more than the nodes")
	}
	if got := left.Annotations["helm.sh/hook-delete-policy"]; got != "before-hook-creation" {
		t.Errorf("delete policy %q, want before-hook-creation: the Job deletes the DaemonSet", got)
	}
}

// wantJob requires that a Job runs with these arguments on nodes with taints and without a
// network for pods, but not on a node that is down.
func wantJob(t *testing.T, job *batchv1.Job, args ...string) {
	t.Helper()
	pod := job.Spec.Template.Spec
	container := pod.Containers[0]
	if !slices.Equal(container.Args, args) {
		t.Errorf("arguments %q, want %q", container.Args, args)
	}
	if !strings.HasSuffix(job.Annotations["helm.sh/hook-output-log-policy"], "hook-failed") {
		t.Errorf("%s: Helm does not print why it failed", job.Name)
	}
	if !pod.HostNetwork || pod.HostPID || pod.Volumes != nil || !*pod.SecurityContext.RunAsNonRoot || !*container.SecurityContext.ReadOnlyRootFilesystem || pod.AutomountServiceAccountToken != nil {
		t.Errorf("hostNetwork %t, hostPID %t, security %+v %+v", pod.HostNetwork, pod.HostPID, pod.SecurityContext, container.SecurityContext)
	}
	for taint, want := range map[corev1.Taint]bool{
		{Key: "node-role.kubernetes.io/control-plane", Effect: "NoSchedule"}:  true,
		{Key: "dedicated", Value: "gpu", Effect: "NoSchedule"}:                true,
		{Key: "node.kubernetes.io/network-unavailable", Effect: "NoSchedule"}: true,
		{Key: "node.kubernetes.io/not-ready", Effect: "NoExecute"}:            true,
		{Key: "node.kubernetes.io/unreachable", Effect: "NoExecute"}:          false,
	} {
		if got := slices.ContainsFunc(pod.Tolerations, func(toleration corev1.Toleration) bool {
			return toleration.ToleratesTaint(klog.Background(), &taint, false)
		}); got != want {
			t.Errorf("tolerates %s:%s: %t, want %t", taint.Key, taint.Effect, got, want)
		}
	}
	// The apiserver adds a toleration of this taint for five minutes to pods without one.
	if !slices.ContainsFunc(pod.Tolerations, func(toleration corev1.Toleration) bool {
		return toleration.Key == "node.kubernetes.io/unreachable" && toleration.Effect == "NoExecute"
	}) {
		t.Error("no toleration has the key node.kubernetes.io/unreachable, so the apiserver adds one")
	}
}

func wantRules(t *testing.T, rendered release, job *batchv1.Job, want ...string) {
	t.Helper()
	if got := roles(rendered.hooks, job.Spec.Template.Spec.ServiceAccountName); !slices.Equal(got, want) {
		t.Errorf("%s may %q, want %q", job.Name, got, want)
	}
}

// wantHooks requires that an event has one hook of each kind, that the Job is the last one and
// comes after the DaemonSet, and that all but the DaemonSet are deleted when they have ended.
func wantHooks(t *testing.T, rendered release, event string, kinds ...string) {
	t.Helper()
	weights := make(map[string]int)
	for key, hook := range rendered.hooks {
		if hook.GetAnnotations()["helm.sh/hook"] != event {
			continue
		}
		kind, _, _ := strings.Cut(key, "/")
		weight, err := strconv.Atoi(hook.GetAnnotations()["helm.sh/hook-weight"])
		if err != nil {
			t.Errorf("%s: %v", key, err)
		}
		weights[kind] = weight
		if policy := hook.GetAnnotations()["helm.sh/hook-delete-policy"]; kind != "DaemonSet" && policy != "before-hook-creation,hook-succeeded,hook-failed" {
			t.Errorf("%s: delete policy %q", key, policy)
		}
	}
	slices.Sort(kinds)
	if got := slices.Sorted(maps.Keys(weights)); !slices.Equal(got, kinds) {
		t.Fatalf("%s runs %q, want %q", event, got, kinds)
	}
	for kind, weight := range weights {
		if before := map[string]string{"DaemonSet": "Job", "RoleBinding": "DaemonSet", "Role": "RoleBinding", "ClusterRole": "ClusterRoleBinding"}[kind]; before != "" && weights[before] != 0 && weight >= weights[before] {
			t.Errorf("%s: %s has the weight %d, %s %d", event, kind, weight, before, weights[before])
		}
	}
}
