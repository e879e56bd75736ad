package chart

import (
	"reflect"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"image-cri-shim/agent/cluster"
)

// sources returns the sources of the agent's volume with the configuration.
func sources(agent *appsv1.DaemonSet) []corev1.VolumeProjection {
	for _, volume := range agent.Spec.Template.Spec.Volumes {
		if volume.Name == "config" {
			return volume.Projected.Sources
		}
	}
	return nil
}

// TestConfiguration requires that the configuration is an immutable Secret which Helm keeps,
// and that a change of it changes only the name of the Secret in the agent's template.
func TestConfiguration(t *testing.T) {
	before := render(t, "config: {address: 'http://one', offlinePriority: 10000}\nfiles: {ca.pem: certificate}")
	secret := before.secret(t)
	if !*secret.Immutable || secret.Annotations["helm.sh/resource-policy"] != "keep" || secret.Labels[cluster.ConfigurationLabel] != "test-image-cri-shim" {
		t.Errorf("Secret %+v, want an immutable one that is kept, with the DaemonSet's name", secret.ObjectMeta)
	}
	if got, want := before.config(t), "address: http://one\nofflinePriority: 10000\n"; got != want || string(secret.Data["ca.pem"]) != "certificate" {
		t.Errorf("configuration %q, files %q, want %q", got, secret.Data["ca.pem"], want)
	}
	for _, values := range []string{
		"config: {address: 'http://two', offlinePriority: 10000}\nfiles: {ca.pem: certificate}",
		"config: {address: 'http://one', offlinePriority: 10000}\nfiles: {ca.pem: another}",
	} {
		after := render(t, values)
		source := sources(after.agent(t))[0].Secret
		if source.Name != after.secret(t).Name || source.Name == secret.Name {
			t.Errorf("%s: the pod mounts %s, the Secret is %s, before %s", values, source.Name, after.secret(t).Name, secret.Name)
		}
		source.Name = secret.Name
		if !reflect.DeepEqual(before.agent(t).Spec, after.agent(t).Spec) {
			t.Errorf("%s: more than the Secret's name changed in the agent", values)
		}
	}
}

// TestConfigurationText requires that a text is used as it is.
func TestConfigurationText(t *testing.T) {
	if got, want := render(t, "config: |\n  # a comment\n  address: http://hub # another\n").config(t), "# a comment\naddress: http://hub # another\n"; got != want {
		t.Errorf("configuration %q, want %q", got, want)
	}
	if got := render(t, "").config(t); got != "{}\n" {
		t.Errorf("the empty configuration is %q", got)
	}
}

// TestAuthSecret requires that the logins reach the nodes, and that the configuration names
// their file unless it names another one.
func TestAuthSecret(t *testing.T) {
	for values, want := range map[string]string{
		"config: {address: 'http://hub'}":                 "address: http://hub\nauthFile: /etc/image-cri-shim/auth.json\n",
		"config: |\n  address: http://hub\n":              "address: http://hub\nauthFile: /etc/image-cri-shim/auth.json\n",
		"config: {authFile: /root/.docker/config.json}":   "authFile: /root/.docker/config.json\n",
		"config: \"authFile: /root/.docker/config.json\"": "authFile: /root/.docker/config.json\n",
	} {
		rendered := render(t, values+"\nauthSecret: login")
		if got := rendered.config(t); got != want {
			t.Errorf("%s: configuration %q, want %q", values, got, want)
		}
		login := sources(rendered.agent(t))[1].Secret
		if login.Name != "login" || !reflect.DeepEqual(login.Items, []corev1.KeyToPath{{Key: ".dockerconfigjson", Path: "auth.json"}}) {
			t.Errorf("%s: the pod mounts %+v", values, login)
		}
	}
}

// TestExistingSecret requires that the pod mounts the Secret, and that the chart has none.
func TestExistingSecret(t *testing.T) {
	rendered := render(t, "existingSecret: mine")
	for key := range rendered.objects {
		if strings.HasPrefix(key, "Secret/") {
			t.Errorf("found %s, want no Secret", key)
		}
	}
	if got := sources(rendered.agent(t)); len(got) != 1 || got[0].Secret.Name != "mine" || got[0].Secret.Items != nil {
		t.Errorf("the pod mounts %+v", got)
	}
	for values, want := range map[string]string{
		"existingSecret: mine\nconfig: {address: 'http://hub'}": "together with config",
		"existingSecret: mine\nfiles: {ca.pem: certificate}":    "together with files",
	} {
		wantFailure(t, values, want)
	}
}

// TestPasswordsAreRefused requires that passwords in values are an error with their place and
// the documented ways, without the password, unless they are permitted.
func TestPasswordsAreRefused(t *testing.T) {
	for values, place := range map[string]string{
		"config: {auth: 'user:s3cret'}":                                              "config.auth",
		"config: {auth: {username: user, password: s3cret}}":                         "config.auth",
		"config: {sealos: {auth: 'user:s3cret'}}":                                    "config.sealos.auth",
		"config: {registries: [{address: a}, {address: b, auth: 'user:s3cret'}]}":    "config.registries[1].auth",
		"config: {registries: [{address: 'https://user:s3cret@hub.example.com/a'}]}": "config.registries[0].address",
		"config: |\n  # text\n  auth: user:s3cret\n":                                 "config.auth",
		"config: {registries: [{address: 'user:s3cret@hub.example.com:5000/a'}]}":    "config.registries[0].address",
		"config: {registries: {'https://user:s3cret@hub/a': {auth: 'u:p'}}}":         "config.registries",
		"config: {auth: 'user:s3cret', sealos: {auth: 'u:p'}}":                       "config.auth, config.sealos.auth",
	} {
		failure := wantFailure(t, values, place+": found a password", "authSecret", "existingSecret", "allowPasswordsInValues")
		if strings.Contains(failure, "s3cret") {
			t.Errorf("%s: the error contains the password: %s", values, failure)
		}
		if got := render(t, values+"\nallowPasswordsInValues: true").config(t); !strings.Contains(got, "s3cret") {
			t.Errorf("%s: the permitted password is missing in %q", values, got)
		}
	}
	render(t, "config: {authFile: /etc/auth.json, match: ['redis:7@sha256:0a', '*@b'], registries: [{address: 'https://hub/a@b', auth: ''}]}")
}

// TestPasswordsInFilesAreRefused requires that the formats of logins are refused in files as
// passwords are in the configuration.
func TestPasswordsInFilesAreRefused(t *testing.T) {
	for _, content := range []string{
		`{"auths":{"hub.example.com":{"auth":"s3cret"}}}`,
		"{\n\t\"auths\": {\n\t\t\"hub.example.com\": {\n\t\t\t\"identitytoken\": \"s3cret\"\n\t\t}\n\t}\n}",
		"{\r\n\"auth\" : \"s3cret\"}",
		"address: a\n---\nregistries: [{address: b, auth: 'user:s3cret'}]",
		"auth:\n  username: user\n  password: s3cret",
		"[host.\"https://hub\".header]\n  Authorization = \"Basic s3cret\"",
		"registryToken: s3cret",
		"machine hub.example.com\n  login user\n  password s3cret",
		"server = \"https://user:s3cret@hub.example.com\"",
	} {
		values, err := yaml.Marshal(map[string]any{"files": map[string]string{"ca.pem": "certificate", "logins.json": content}})
		if err != nil {
			t.Fatal(err)
		}
		if failure := wantFailure(t, string(values), "files.logins.json: found a password", "authSecret", "existingSecret", "allowPasswordsInValues"); strings.Contains(failure, "s3cret") {
			t.Errorf("%q: the error contains the password: %s", content, failure)
		}
		if got := string(render(t, string(values)+"\nallowPasswordsInValues: true").secret(t).Data["logins.json"]); got != content {
			t.Errorf("the permitted file is %q, want %q", got, content)
		}
	}
	for _, content := range []string{
		"# Authority: Example\n# https://ca.example.com/?mail=a@b\n-----BEGIN CERTIFICATE-----\nauth+password/AUTH=\n-----END CERTIFICATE-----\n",
		`{"auths": {}, "credsStore": "pass", "auth": ""}`,
		"authFile: /etc/auth.json\nauth: ''\n",
	} {
		values, err := yaml.Marshal(map[string]any{"files": map[string]string{"ca.pem": content}})
		if err != nil {
			t.Fatal(err)
		}
		render(t, string(values))
	}
}

// TestFilesAreRefused requires that files have no secrets and no reserved names.
func TestFilesAreRefused(t *testing.T) {
	wantFailure(t, "files: {key.pem: '-----BEGIN EC PRIVATE KEY-----'}", "files.key.pem", "private key", "existingSecret")
	wantFailure(t, "files: {auth.json: '{}'}", "files.auth.json", "authSecret")
	wantFailure(t, "files: {image-cri-shim.yaml: '{}'}", "files.image-cri-shim.yaml", "use config")
	if failure := wantFailure(t, "config: 'auth: *s3cret'", "config is not valid YAML"); strings.Contains(failure, "s3cret") {
		t.Errorf("the error contains the password: %s", failure)
	}
	wantFailure(t, "config: \"address: a\\n\\tmatch: b\"", "config is not valid YAML: check line 2")
}

// wantFailure requires an error with these texts and returns it.
func wantFailure(t *testing.T, values string, texts ...string) string {
	t.Helper()
	_, err := tryRender(t, options{values: values})
	if err == nil {
		t.Errorf("%s: no error, want one with %q", values, texts)
		return ""
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: error %q, want %q in it", values, err, text)
		}
	}
	return err.Error()
}

// TestConfigurationIsYAML requires that maps survive as the same values.
func TestConfigurationIsYAML(t *testing.T) {
	const values = "{address: 'http://hub', offlinePriority: 10000, match: ['!a', '*.b'], timeout: 15m, debug: true, traceBuffer: 1048576, cache: {imageCacheSize: -1}}"
	var want, got any
	if err := yaml.Unmarshal([]byte(values), &want); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(render(t, "config: "+values).config(t)), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("configuration %v, want %v", got, want)
	}
}
