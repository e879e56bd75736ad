package chart

import (
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// TestNamesThatLookLikeNumbers requires that names which YAML would take for another type stay
// names. The decoder refuses any other type.
func TestNamesThatLookLikeNumbers(t *testing.T) {
	for _, name := range []string{"123", "1e3", "0x10", "true", "null", "yes", "1.5"} {
		for _, values := range []string{"", "live: true", "compatibility: {sealosConfigMap: true}", "existingSecret: '" + name + "'"} {
			values += "\nfullnameOverride: '" + name + "'\nauthSecret: '" + name + "'\nimage: {repository: agent, pullSecrets: ['" + name + "']}"
			rendered, err := tryRender(t, options{name: name, namespace: name, values: values})
			if err != nil {
				t.Errorf("%s: %v", values, err)
				continue
			}
			agent := find[*appsv1.DaemonSet](t, rendered.objects, "DaemonSet/"+name)
			if pod := agent.Spec.Template.Spec; pod.ImagePullSecrets[0].Name != name {
				t.Errorf("%s: pull secrets %v", values, pod.ImagePullSecrets)
			}
			removal := find[*appsv1.DaemonSet](t, rendered.hooks, "DaemonSet/"+name+"-remove")
			if got := removal.Annotations["meta.helm.sh/release-name"] + " " + removal.Annotations["meta.helm.sh/release-namespace"] + " " + removal.Labels["image-cri-shim.io/daemonset"]; got != name+" "+name+" "+name {
				t.Errorf("the removal has %q", got)
			}
			binding := find[*rbacv1.RoleBinding](t, rendered.hooks, "RoleBinding/"+name+"-prune")
			if binding.Subjects[0].Namespace != name {
				t.Errorf("the hook's account is in %q", binding.Subjects[0].Namespace)
			}
			for _, source := range sources(agent) {
				if got := source.Secret.Name; got != name && !strings.HasPrefix(got, name+"-") {
					t.Errorf("%s: the pod mounts %s", values, got)
				}
			}
		}
	}
}

// TestFilesThatLookLikeNumbers requires that files keep their names and contents.
func TestFilesThatLookLikeNumbers(t *testing.T) {
	want := map[string]string{"1e3": "a", "0x10": "a", "yes": "b", "null": "c", "1_000": "ü\r\n", "b": "\r\u05be"}
	values := `files: {'1e3': a, '0x10': a, 'yes': b, 'null': c, '1_000': "ü\r\n", b: "\r\u05be"}`
	got := make(map[string]string)
	for name, content := range render(t, values).secret(t).Data {
		got[name] = string(content)
	}
	delete(got, "image-cri-shim.yaml")
	if !maps.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
}

// TestLargeNumbers requires that numbers do not become 1e+06: Helm reads them as floating-point
// numbers.
func TestLargeNumbers(t *testing.T) {
	rendered := render(t, "{minReadySeconds: 1000000, maxUnavailable: 2000000, waves: [3000000, 007, '008']}")
	spec := rendered.agent(t).Spec
	if got := spec.UpdateStrategy.RollingUpdate.MaxUnavailable.IntValue(); spec.MinReadySeconds != 1000000 || got != 2000000 {
		t.Errorf("minReadySeconds %d, maxUnavailable %d", spec.MinReadySeconds, got)
	}
	terms := spec.Template.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchExpressions
	if got := terms[len(terms)-1].Values; !slices.Equal(got, []string{"3000000", "7", "008"}) {
		t.Errorf("waves %q", got)
	}
	if !strings.Contains(rendered.notes, "image-cri-shim.io/wave in 3000000, 7, 008.") {
		t.Errorf("the notes name other waves:\n%s", rendered.notes)
	}
	if got := render(t, "maxUnavailable: 10%").agent(t).Spec.UpdateStrategy.RollingUpdate.MaxUnavailable.String(); got != "10%" {
		t.Errorf("maxUnavailable %q, want 10%%", got)
	}
	for values, want := range map[string]string{
		"minReadySeconds: 3000000000": "at '/minReadySeconds'",
		"maxUnavailable: 3000000000":  "at '/maxUnavailable'",
		"minReadySeconds: '30'":       "at '/minReadySeconds': got string, want integer",
		"maxUnavailable: '1'":         "at '/maxUnavailable'",
		"waves: [-1]":                 "at '/waves/0'",
		"waves: [1.5]":                "at '/waves/0'",
	} {
		wantFailure(t, values, want)
	}
}

// TestNullValues requires that null is an empty value, or an error if there is none. With it,
// Helm removes the default.
func TestNullValues(t *testing.T) {
	empty := "config:\nfiles:\nauthSecret:\nexistingSecret:\nallowPasswordsInValues:\nwaves:\nextraArgs:\nresources:\nfullnameOverride:\n" +
		"image: {repository: agent, tag: null, digest: null, pullPolicy: null, pullSecrets: null}\nhooks: {tolerations: null}"
	rendered := render(t, empty)
	if got := rendered.config(t); got != "{}\n" {
		t.Errorf("configuration %q", got)
	}
	if !strings.Contains(rendered.notes, "The configuration is empty") {
		t.Errorf("the notes do not call the configuration empty:\n%s", rendered.notes)
	}
	if got, want := render(t, "config:\nauthSecret: login").config(t), "authFile: /etc/image-cri-shim/auth.json\n"; got != want {
		t.Errorf("configuration %q, want %q", got, want)
	}
	for values, want := range map[string]string{
		"image: null":                            "missing property 'image'",
		"image: {repository: null}":              "image.repository is empty",
		"live: null":                             "missing property 'live'",
		"compatibility: null":                    "missing property 'compatibility'",
		"compatibility: {sealosConfigMap: null}": "missing property 'sealosConfigMap'",
		"registryGate: null":                     "missing property 'registryGate'",
		"jitter: null":                           "missing property 'jitter'",
		"maxUnavailable: null":                   "missing property 'maxUnavailable'",
		"minReadySeconds: null":                  "missing property 'minReadySeconds'",
		"hooks: null":                            "missing property 'hooks'",
		"hooks: {removalTimeout: null}":          "missing property 'removalTimeout'",
		"files: {ca.pem: null}":                  "at '/files/ca.pem': got null, want string",
	} {
		wantFailure(t, values, want)
	}
}

// TestImage requires that every form of an image's name is rendered, and that a repository with
// a tag is refused.
func TestImage(t *testing.T) {
	sha256, sha512 := "sha256:"+strings.Repeat("0a", 32), "sha512:"+strings.Repeat("0a", 64)
	for values, want := range map[string]string{
		"{repository: agent}":                                                 "agent:0.0.0",
		"{repository: hub.example.com/a/b__c, tag: '1.10'}":                   "hub.example.com/a/b__c:1.10",
		"{repository: 'localhost:5000/a', tag: v1, digest: '" + sha256 + "'}": "localhost:5000/a@" + sha256,
		"{repository: '[2001:db8::1]:5000/a', digest: '" + sha512 + "'}":      "[2001:db8::1]:5000/a@" + sha512,
	} {
		rendered := render(t, "image: "+values)
		for _, pod := range []string{
			rendered.agent(t).Spec.Template.Spec.Containers[0].Image,
			find[*batchv1.Job](t, rendered.hooks, "Job/test-image-cri-shim-prune").Spec.Template.Spec.Containers[0].Image,
		} {
			if pod != want {
				t.Errorf("%s: image %q, want %q", values, pod, want)
			}
		}
	}
	for values, want := range map[string]string{
		"{repository: 'hub.example.com/agent:v1'}":                       "at '/image/repository'",
		"{repository: 'agent:v1'}":                                       "at '/image/repository'",
		"{repository: 'https://hub.example.com/agent'}":                  "at '/image/repository'",
		"{repository: hub.example.com/}":                                 "at '/image/repository'",
		"{repository: hub.example.com/Agent}":                            "at '/image/repository'",
		"{repository: agent, digest: '@" + sha256 + "'}":                 "at '/image/digest'",
		"{repository: agent, digest: '" + sha256[7:] + "'}":              "at '/image/digest'",
		"{repository: agent, digest: '" + sha256 + "\\n'}":               "at '/image/digest'",
		"{repository: agent, digest: '" + strings.ToUpper(sha256) + "'}": "at '/image/digest'",
	} {
		wantFailure(t, "image: "+values, want)
	}
}

// TestArgumentsAreQuoted requires that further arguments reach the agent unchanged.
func TestArgumentsAreQuoted(t *testing.T) {
	want := []string{"--interval=30s", "a: b", "# c", "", "\"", "'\\", "{{ . }}", "ü✓\U0001f600\u200b", "a\r\nb\tc", "123", "null"}
	values := "extraArgs: [--interval=30s, 'a: b', '# c', '', '\"', '''\\', '{{ . }}', \"ü✓\U0001f600\\u200b\", \"a\\r\\nb\\tc\", '123', 'null']"
	args := render(t, values).agent(t).Spec.Template.Spec.Containers[0].Args
	if got := args[len(args)-len(want):]; !slices.Equal(got, want) {
		t.Errorf("arguments %q, want %q", got, want)
	}
}
