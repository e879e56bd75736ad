package cluster

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestWatchFiles requires that the present content and each change are delivered, and that a
// change of metadata and other names are not. A deletion delivers nil.
func TestWatchFiles(t *testing.T) {
	server := startAPIServer(t)
	server.set(secretOf("one", nil))
	files := watchFiles(t, server, "Secret")
	wantContent(t, files, "one")
	server.awaitWatch()
	server.set(secretOf("one", map[string]string{"changed": "true"}))
	server.set(secretOf("two", nil))
	wantContent(t, files, "two")
	server.set(nil)
	wantAbsent(t, files)
	server.set(secretOf("two", nil))
	wantContent(t, files, "two")
	server.set(secretOf("three", nil))
	wantContent(t, files, "three")

	server.mu.Lock()
	defer server.mu.Unlock()
	for _, request := range server.requests {
		if !strings.HasPrefix(request, "/api/v1/namespaces/ns/secrets?") || !strings.Contains(request, "fieldSelector=metadata.name%3Dlive") {
			t.Errorf("request %s does not select the name", request)
		}
	}
}

// TestWatchFilesKeepsTheNewest requires that a slow reader receives only the last change.
func TestWatchFilesKeepsTheNewest(t *testing.T) {
	newest := &newestFiles{files: make(chan map[string][]byte, 1)}
	for _, content := range []string{"one", "two", "three"} {
		if err := newest.Update(secretOf(content, nil)); err != nil {
			t.Fatal(err)
		}
	}
	wantContent(t, newest.files, "three")
	if len(newest.files) != 0 {
		t.Error("an older content is delivered after the newest")
	}
}

// TestWatchFilesAfterAnOutage requires that a change during an outage of the apiserver is
// delivered after it.
func TestWatchFilesAfterAnOutage(t *testing.T) {
	server := startAPIServer(t)
	server.set(secretOf("one", nil))
	files := watchFiles(t, server, "Secret")
	wantContent(t, files, "one")
	server.awaitWatch()
	end := server.outage()
	server.set(secretOf("two", nil))
	end()
	wantContent(t, files, "two")
}

// TestWatchFilesBeforeTheObject requires that a missing ConfigMap delivers nil, and its content
// once it exists.
func TestWatchFilesBeforeTheObject(t *testing.T) {
	server := startAPIServer(t)
	files := watchFiles(t, server, "ConfigMap")
	wantAbsent(t, files)
	server.awaitWatch()
	server.set(&corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Name: "live", Namespace: "ns"},
		Data:       map[string]string{"image-cri-shim.yaml": "text"},
		BinaryData: map[string][]byte{"ca.der": {0xff}},
	})
	content := <-files
	if string(content["image-cri-shim.yaml"]) != "text" || string(content["ca.der"]) != "\xff" {
		t.Errorf("received %q, want the keys of data and binaryData", content)
	}
}

func TestWatchFilesRefusesOtherKinds(t *testing.T) {
	if _, err := WatchFiles(t.Context(), startAPIServer(t).client(t), "ns", "Pod", "live"); err == nil || !strings.Contains(err.Error(), `"Pod"`) {
		t.Errorf("error %v, want one that names the kind", err)
	}
}

// watchFiles starts a watch that ends with the test. It requires that the channel is closed
// then.
func watchFiles(t *testing.T, server *apiserver, kind string) <-chan map[string][]byte {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	files, err := WatchFiles(ctx, server.client(t), "ns", kind, "live")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		select {
		case _, open := <-files:
			if open {
				t.Error("content was delivered that no change explains")
			}
		case <-time.After(30 * time.Second):
			t.Error("the channel is open 30s after the context has ended")
		}
	})
	return files
}

func wantAbsent(t *testing.T, files <-chan map[string][]byte) {
	t.Helper()
	select {
	case content := <-files:
		if content != nil {
			t.Fatalf("received %q, want nil", content)
		}
	case <-time.After(time.Minute):
		t.Fatal("received nothing in a minute, want nil")
	}
}

func wantContent(t *testing.T, files <-chan map[string][]byte, want string) {
	t.Helper()
	select {
	case content := <-files:
		if got := string(content["image-cri-shim.yaml"]); got != want {
			t.Fatalf("received %q, want %q", got, want)
		}
	case <-time.After(time.Minute):
		t.Fatalf("received nothing in a minute, want %q", want)
	}
}
