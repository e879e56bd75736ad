package chart

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// release is a rendered chart. Its objects and hooks are found by kind/name.
type release struct {
	objects, hooks map[string]metav1.Object
	notes          string
}

// options are the parts of a rendering that tests change.
type options struct {
	name      string // of the release; default: test
	namespace string // of the release; default: shims
	values    string // YAML
	change    func(*chart.Chart)
}

// render renders the chart with a repository for the image.
func render(t *testing.T, values string) release {
	t.Helper()
	rendered, err := tryRender(t, options{values: values})
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

func tryRender(t *testing.T, with options) (release, error) {
	t.Helper()
	loaded, err := loader.Load("image-cri-shim")
	if err != nil {
		t.Fatal(err)
	}
	if with.change != nil {
		with.change(loaded)
	}
	values := chartutil.Values{}
	if err := yaml.Unmarshal([]byte(with.values), &values); err != nil {
		t.Fatal(err)
	}
	if _, set := values["image"]; !set {
		values["image"] = map[string]any{"repository": "registry.example.com/agent"}
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = chartutil.KubeVersion{Version: "v1.37.2", Major: "1", Minor: "37"}
	renderValues, err := chartutil.ToRenderValues(loaded, values, chartutil.ReleaseOptions{Name: cmp.Or(with.name, "test"), Namespace: cmp.Or(with.namespace, "shims"), Revision: 1}, capabilities)
	if err != nil {
		return release{}, err
	}
	files, err := engine.Render(loaded, renderValues)
	if err != nil {
		return release{}, err
	}
	rendered := release{objects: make(map[string]metav1.Object), hooks: make(map[string]metav1.Object)}
	for file, content := range files {
		if strings.HasSuffix(file, "NOTES.txt") {
			rendered.notes = content
			continue
		}
		for document := range strings.SplitSeq(content, "\n---\n") {
			rendered.add(t, file, document)
		}
	}
	return rendered, nil
}

// add decodes a document. A field that does not exist in the API is an error.
func (r release) add(t *testing.T, file, document string) {
	t.Helper()
	var head metav1.TypeMeta
	if err := yaml.Unmarshal([]byte(document), &head); err != nil {
		t.Fatalf("%s: %v\n%s", file, err, document)
	}
	if head.Kind == "" {
		return // only comments, or a condition that is false
	}
	object := decode(t, file, head, document)
	target := r.objects
	if object.GetAnnotations()["helm.sh/hook"] != "" {
		target = r.hooks
	}
	key := head.Kind + "/" + object.GetName()
	if _, twice := target[key]; twice {
		t.Errorf("%s has a second %s", file, key)
	}
	target[key] = object
}

func decode(t *testing.T, file string, head metav1.TypeMeta, document string) metav1.Object {
	t.Helper()
	create, known := map[string]func() metav1.Object{
		"v1 Namespace":                                    func() metav1.Object { return &corev1.Namespace{} },
		"v1 Secret":                                       func() metav1.Object { return &corev1.Secret{} },
		"v1 ServiceAccount":                               func() metav1.Object { return &corev1.ServiceAccount{} },
		"apps/v1 DaemonSet":                               func() metav1.Object { return &appsv1.DaemonSet{} },
		"batch/v1 Job":                                    func() metav1.Object { return &batchv1.Job{} },
		"monitoring.coreos.com/v1 PodMonitor":             func() metav1.Object { return &monitoringv1.PodMonitor{} },
		"rbac.authorization.k8s.io/v1 Role":               func() metav1.Object { return &rbacv1.Role{} },
		"rbac.authorization.k8s.io/v1 RoleBinding":        func() metav1.Object { return &rbacv1.RoleBinding{} },
		"rbac.authorization.k8s.io/v1 ClusterRole":        func() metav1.Object { return &rbacv1.ClusterRole{} },
		"rbac.authorization.k8s.io/v1 ClusterRoleBinding": func() metav1.Object { return &rbacv1.ClusterRoleBinding{} },
	}[head.APIVersion+" "+head.Kind]
	if !known {
		t.Fatalf("%s has an unexpected %s %s", file, head.APIVersion, head.Kind)
	}
	object := create()
	if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
		t.Fatalf("%s: %v\n%s", file, err, document)
	}
	return object
}

// find returns the object with this kind and name.
func find[T metav1.Object](t *testing.T, objects map[string]metav1.Object, key string) T {
	t.Helper()
	object, ok := objects[key].(T)
	if !ok {
		t.Fatalf("found no %s among %v", key, slices.Sorted(maps.Keys(objects)))
	}
	return object
}

func (r release) agent(t *testing.T) *appsv1.DaemonSet {
	t.Helper()
	return find[*appsv1.DaemonSet](t, r.objects, "DaemonSet/test-image-cri-shim")
}

func (r release) removal(t *testing.T) *appsv1.DaemonSet {
	t.Helper()
	return find[*appsv1.DaemonSet](t, r.objects, "DaemonSet/test-image-cri-shim-remove")
}

// secret returns the only Secret of the release.
func (r release) secret(t *testing.T) *corev1.Secret {
	t.Helper()
	var secrets []*corev1.Secret
	for _, object := range r.objects {
		if secret, ok := object.(*corev1.Secret); ok {
			secrets = append(secrets, secret)
		}
	}
	if len(secrets) != 1 {
		t.Fatalf("found %d Secrets, want 1", len(secrets))
	}
	return secrets[0]
}

// config returns the configuration in the only Secret.
func (r release) config(t *testing.T) string {
	t.Helper()
	return string(r.secret(t).Data["image-cri-shim.yaml"])
}

// roles returns the rules of all roles that a service account has in these objects, as text.
func roles(objects map[string]metav1.Object, account string) []string {
	var rules []string
	add := func(subjects []rbacv1.Subject, key, namespace string) {
		for _, subject := range subjects {
			if subject.Kind != "ServiceAccount" || subject.Name != account || subject.Namespace != "shims" {
				continue
			}
			var granted []rbacv1.PolicyRule
			switch role := objects[key].(type) {
			case *rbacv1.Role:
				granted = role.Rules
			case *rbacv1.ClusterRole:
				granted = role.Rules
			}
			for _, rule := range granted {
				rules = append(rules, strings.TrimSpace(fmt.Sprintln(namespace, rule.Verbs, rule.Resources, rule.ResourceNames)))
			}
		}
	}
	for _, object := range objects {
		switch binding := object.(type) {
		case *rbacv1.RoleBinding:
			add(binding.Subjects, "Role/"+binding.RoleRef.Name, cmp.Or(binding.Namespace, "shims"))
		case *rbacv1.ClusterRoleBinding:
			add(binding.Subjects, "ClusterRole/"+binding.RoleRef.Name, "*")
		}
	}
	slices.Sort(rules)
	return rules
}
