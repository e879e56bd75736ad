package chart

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestAuthSecretWithAnyText requires that a configuration as a text in every style of YAML gets
// authFile, and loses none of its values.
func TestAuthSecretWithAnyText(t *testing.T) {
	for _, text := range []string{
		`{address: "http://hub", offlinePriority: 10000}`,
		"{address: 'http://hub',\n offlinePriority: 10000}\n",
		"  address: http://hub\n  offlinePriority: 10000\n",
		"---\naddress: http://hub\nofflinePriority: 10000\n",
		"# a comment\n\n--- # another\naddress: http://hub\nofflinePriority: 10000\n",
		"%YAML 1.1\n---\naddress: http://hub\nofflinePriority: 10000\n",
		"address: http://hub\nofflinePriority: 10000\n...\n",
		"--- {address: 'http://hub', offlinePriority: 10000}\n...",
		"address: http://hub\r\nofflinePriority: 10000\r\n...\r\n",
		"address: http://hub\nofflinePriority: 10000\nauthFile:\n",
		"address: http://hub\nofflinePriority: 10000\nauthFile: ''",
		"\ufeffaddress: http://hub\nofflinePriority: 10000",
	} {
		values, err := yaml.Marshal(map[string]any{"config": text, "authSecret": "login"})
		if err != nil {
			t.Fatal(err)
		}
		const want = "address: http://hub\nauthFile: /etc/image-cri-shim/auth.json\nofflinePriority: 10000\n"
		if got := render(t, string(values)).config(t); got != want {
			t.Errorf("%q: configuration %q, want %q", text, got, want)
		}
	}
}

// TestAuthSecretKeepsEmptyValues requires that authFile is added to values that are empty, and
// that strings stay strings.
func TestAuthSecretKeepsEmptyValues(t *testing.T) {
	const config = "{match: [], debug: false, drain: 0, path: '', names: '1e3', tags: 'on', address: 'http://hüb/✓', cache: {domainPolicy: {}}}"
	const want = "address: http://hüb/✓\nauthFile: /etc/image-cri-shim/auth.json\ncache:\n  domainPolicy: {}\ndebug: false\ndrain: 0\nmatch: []\nnames: \"1e3\"\npath: \"\"\ntags: \"on\"\n"
	for _, values := range []string{"config: " + config, "config: \"" + config + "\""} {
		if got := render(t, values+"\nauthSecret: login").config(t); got != want {
			t.Errorf("%s: configuration %q, want %q", values, got, want)
		}
	}
}

// TestTextIsOneMapping requires that a text with several documents, or without keys and values,
// is refused, and that a password is found where a key is there twice: Helm decodes only the
// first document and the last key.
func TestTextIsOneMapping(t *testing.T) {
	for text, want := range map[string]string{
		"address: a\n---\nauth: user:s3cret\n":      "config has several documents",
		"address: a\r\n---\r\nauth: user:s3cret":    "config has several documents",
		"address: a\r---\rauth: user:s3cret":        "config has several documents",
		"address: a\n--- {auth: 'user:s3cret'}":     "config has several documents",
		"---\n---\nauth: user:s3cret":               "config has several documents",
		"# a\n---\naddress: a\n---":                 "config has several documents",
		"address: a\n...\nauth: user:s3cret\n":      "config has several documents",
		"address: a\n...\n---\nauth: user:s3cret":   "config has several documents",
		"auth: user:s3cret\nauth: ''\n":             "config: found a password",
		"{auth: 'user:s3cret', auth: ''}":           "config: found a password",
		"registries:\n- auth: a:s3cret\n  auth: ''": "config: found a password",
		"- auth: user:s3cret":                       "config is not valid YAML: check that it has keys and values",
		"user:s3cret":                               "config is not valid YAML: check that it has keys and values",
		"Error: [user:s3cret]":                      "config is not valid YAML: check that it has keys and values",
	} {
		values, err := yaml.Marshal(map[string]any{"config": text})
		if err != nil {
			t.Fatal(err)
		}
		if failure := wantFailure(t, string(values), want); strings.Contains(failure, "s3cret") {
			t.Errorf("%q: the error contains the password: %s", text, failure)
		}
	}
	render(t, "config: |\n  # auth: user:s3cret\n  auth: null # auth: a\n  ca: ~\n  sealos: {auth: }\n  address: a\n  registries: [{address: a, auth: ~}, {address: b, auth:\n    }]\n  match: |\n    a\n     ---\n    b\n")
}

// TestExampleAsText requires that the documented configuration is accepted as a text, as it is
// and with authFile.
func TestExampleAsText(t *testing.T) {
	example, err := os.ReadFile("../image-cri-shim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	values, err := yaml.Marshal(map[string]any{"config": string(example)})
	if err != nil {
		t.Fatal(err)
	}
	if got := render(t, string(values)).config(t); got != string(example) {
		t.Errorf("configuration %q, want %q", got, example)
	}
	var want, got map[string]any
	if err := yaml.Unmarshal(example, &want); err != nil {
		t.Fatal(err)
	}
	want["authFile"] = "/etc/image-cri-shim/auth.json"
	if err := yaml.Unmarshal([]byte(render(t, string(values)+"authSecret: login").config(t)), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("configuration %v, want %v", got, want)
	}
}

// TestLongLists requires that long lists are rendered whole, and that a password at their end is
// found.
func TestLongLists(t *testing.T) {
	const length = 2000
	var registries []map[string]any
	var waves []string
	for i := range length {
		registries = append(registries, map[string]any{"address": fmt.Sprintf("http://hub-%d", i), "match": "docker.io"})
		waves = append(waves, fmt.Sprint(i))
	}
	values, err := yaml.Marshal(map[string]any{"config": map[string]any{"registries": registries}, "waves": waves, "extraArgs": waves, "authSecret": "login"})
	if err != nil {
		t.Fatal(err)
	}
	rendered := render(t, string(values))
	var config struct{ Registries []map[string]any }
	if err := yaml.Unmarshal([]byte(rendered.config(t)), &config); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(config.Registries, registries) {
		t.Errorf("found %d registries that differ, want %d", len(config.Registries), length)
	}
	pod := rendered.agent(t).Spec.Template.Spec
	terms := pod.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchExpressions
	if args := pod.Containers[0].Args; !reflect.DeepEqual(terms[len(terms)-1].Values, waves) || !reflect.DeepEqual(args[len(args)-length:], waves) {
		t.Errorf("waves or arguments differ from the values")
	}
	registries[length-1]["auth"] = "user:s3cret"
	if values, err = yaml.Marshal(map[string]any{"config": map[string]any{"registries": registries}}); err != nil {
		t.Fatal(err)
	}
	if _, err := tryRender(t, options{values: string(values)}); err == nil || !strings.Contains(err.Error(), "config.registries[1999].auth: found a password") {
		t.Errorf("error %v, want one with the last registry", err)
	}
}
