package cli

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"image-cri-shim/agent/rollout"
	"image-cri-shim/agent/service"
	"image-cri-shim/config"
)

// TestDesired merges an object into the files of the pod's folder.
func TestDesired(t *testing.T) {
	base := service.Files{service.ConfigKey: []byte("shim: /run/a.sock\nauth: admin:canary-node\naddress: http://a:5000\n"), "ca.pem": []byte("base")}
	live := watcher{source: source{kind: "Secret", namespace: "n", name: "s"}, files: base}
	sealos := watcher{source: source{kind: "ConfigMap", namespace: "n", name: "s", sealos: true}, files: base}
	for name, c := range map[string]struct {
		watcher watcher
		object  map[string][]byte
		want    map[string]string // part of a key's content
		err     string
	}{
		"live":             {live, map[string][]byte{service.ConfigKey: []byte("b: 1"), "auth.json": []byte("{}")}, map[string]string{service.ConfigKey: "b: 1", "auth.json": "{}", "ca.pem": "base"}, ""},
		"live, no file":    {watcher{source: live.source}, map[string][]byte{"ca.pem": nil}, nil, "Secret n/s: the key image-cri-shim.yaml is missing"},
		"live, a path":     {live, map[string][]byte{"..data": nil}, nil, `Secret n/s: key "..data" can't be a file name`},
		"sealos":           {sealos, map[string][]byte{config.SealosKey: []byte("sealos:\n  address: http://b:5000\n")}, map[string]string{service.ConfigKey: "address: http://b:5000\n", "ca.pem": "base"}, ""},
		"sealos, no key":   {sealos, map[string][]byte{"other": nil}, map[string]string{service.ConfigKey: "address: http://a:5000\n", "ca.pem": "base"}, ""},
		"sealos, absent":   {sealos, nil, map[string]string{service.ConfigKey: "address: http://a:5000\n", "ca.pem": "base"}, ""},
		"sealos, no base":  {watcher{source: sealos.source}, map[string][]byte{config.SealosKey: []byte("sealos:\n  address: http://b:5000\n")}, map[string]string{service.ConfigKey: "address: http://b:5000\n"}, ""},
		"nothing":          {watcher{source: sealos.source}, nil, map[string]string{service.ConfigKey: ""}, ""},
		"sealos, mistakes": {sealos, map[string][]byte{config.SealosKey: []byte("sealos:\n  address: b\n  auth: {username: u, password: [canary-map]}\n")}, nil, "ConfigMap n/s: registries.yaml:2: "},
	} {
		t.Run(name, func(t *testing.T) {
			c.watcher.log = logrus.New()
			d := c.watcher.desired(c.object)
			if _, merged := c.object[config.SealosKey]; d.Absent != (c.object == nil) || d.Merged != merged {
				t.Errorf("absent %t, merged %t", d.Absent, d.Merged)
			}
			if (d.Err == nil) != (c.err == "") || d.Err != nil && (!strings.HasPrefix(d.Err.Error(), c.err) || strings.Contains(d.Err.Error(), "canary")) {
				t.Fatalf("error %v, want %q", d.Err, c.err)
			}
			for key, part := range c.want {
				if !strings.Contains(string(d.Files[key]), part) {
					t.Errorf("%s is\n%s\nwant %q in it", key, d.Files[key], part)
				}
			}
			if c.err == "" && len(d.Files) != len(c.want) {
				t.Errorf("%d files, want %d", len(d.Files), len(c.want))
			}
		})
	}
	if string(base["ca.pem"]) != "base" || len(base) != 2 {
		t.Errorf("the folder's files were changed: %q", base)
	}
}

// TestWarnings requires that the log has the warnings of the merge, without passwords.
func TestWarnings(t *testing.T) {
	log, hook := logtest.NewNullLogger()
	base := service.Files{service.ConfigKey: []byte("registries:\n- address: http://c:5000\n  auth: admin:canary-node\n")}
	w := watcher{source: source{kind: "ConfigMap", sealos: true}, files: base, log: log}
	if d := w.desired(map[string][]byte{config.SealosKey: []byte("shim: /run/b.sock\nsealos:\n  address: http://b:5000\n")}); d.Err != nil {
		t.Fatal(d.Err)
	}
	var text []string
	for _, entry := range hook.AllEntries() {
		text = append(text, entry.Message)
	}
	joined := strings.Join(text, "\n")
	for _, want := range []string{"registries.yaml:1: shim: has no effect in the ConfigMap", "those of image-cri-shim.yaml are removed"} {
		if !strings.Contains(joined, want) || strings.Contains(joined, "canary") {
			t.Errorf("the log is\n%s\nwant %q", joined, want)
		}
	}
}

// TestSourceIsNamed requires that messages about a missing object have its name and key.
func TestSourceIsNamed(t *testing.T) {
	live := source{kind: "Secret", namespace: "n", name: "s"}
	if got, want := live.String(), "Secret n/s with the key image-cri-shim.yaml"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	log, hook := logtest.NewNullLogger()
	w := watcher{source: source{kind: "ConfigMap", namespace: config.SealosNamespace, name: config.SealosConfigMap, sealos: true}, log: log}
	w.desired(nil)
	const want = "ConfigMap kube-system/image-cri-shim with the key registries.yaml"
	if entry := hook.LastEntry(); entry == nil || !strings.Contains(entry.Message, want) {
		t.Errorf("the log has %v, want %q", entry, want)
	}
}

// TestDeletedObject requires that a deletion arrives only for sealos' ConfigMap.
func TestDeletedObject(t *testing.T) {
	for _, sealos := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		w := watcher{source: source{kind: "ConfigMap", namespace: "n", name: "s", sealos: sealos}, files: service.Files{service.ConfigKey: nil}, client: fake.NewClientset(), log: logrus.New()}
		feed, err := w.start(ctx)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case d := <-feed:
			if !sealos || !d.Absent {
				t.Errorf("sealos %t: received %+v", sealos, d)
			}
		case <-time.After(2 * time.Second):
			if sealos {
				t.Error("received nothing")
			}
		}
		cancel()
		for range feed { // ends
		}
	}
}

// TestOpenWithoutFolder requires that only an agent that follows an object can do without the
// folder of --config.
func TestOpenWithoutFolder(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	folder := filepath.Join(t.TempDir(), "missing")
	if _, err := (source{}).open(folder, logrus.New()); err == nil || !strings.Contains(err.Error(), "does the pod mount it?") {
		t.Errorf("without an object: %v", err)
	}
	_, err := source{kind: "Secret", namespace: "n", name: "s"}.open(folder, logrus.New())
	if err == nil || strings.Contains(err.Error(), folder) || !strings.Contains(err.Error(), "service account") && !strings.Contains(err.Error(), "find the apiserver") {
		t.Errorf("with an object: %v, want an error about the apiserver", err)
	}
}

// TestStart requires that changes of the object arrive, and that the channel ends with ctx.
func TestStart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "s"}, Data: map[string][]byte{service.ConfigKey: []byte("a: 1")}}
	client := fake.NewClientset(secret)
	w := watcher{source: source{kind: "Secret", namespace: "n", name: "s"}, client: client}
	feed, err := w.start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	await := func(want string) {
		t.Helper()
		for {
			select {
			case d, open := <-feed:
				if !open {
					t.Fatal("the channel is closed")
				}
				if string(d.Files[service.ConfigKey]) == want {
					return
				}
			case <-ctx.Done():
				t.Fatalf("%q has not arrived", want)
			}
		}
	}
	await("a: 1")
	for _, content := range []string{"a: 2", "a: 3", "a: 4"} {
		secret = secret.DeepCopy()
		secret.Data[service.ConfigKey] = []byte(content)
		if _, err := client.CoreV1().Secrets("n").Update(ctx, secret, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	await("a: 4")
	cancel()
	for range feed { // ends
	}
	static := watcher{files: service.Files{service.ConfigKey: nil}}
	if feed, err := static.start(ctx); err != nil || (<-feed).Files == nil {
		t.Errorf("without an object: %v", err)
	}
	var _ <-chan rollout.Desired = feed
}
