package cluster

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// apiserver serves the list and the watch of one Secret or ConfigMap over HTTP, as the real
// one does for a field selector of the name.
type apiserver struct {
	*httptest.Server
	mu        sync.Mutex
	down      bool
	version   int
	object    any // nil: it does not exist
	watches   map[chan event]bool
	requests  []string // the paths and queries
	tokens    map[string]bool
	available *sync.Cond
}

type event struct {
	Type   string `json:"type"`
	Object any    `json:"object"`
}

func startAPIServer(t *testing.T) *apiserver {
	t.Helper()
	server := &apiserver{watches: make(map[chan event]bool), tokens: make(map[string]bool), version: 1}
	server.available = sync.NewCond(&server.mu)
	server.Server = httptest.NewTLSServer(server)
	t.Cleanup(server.Close)
	return server
}

func (s *apiserver) client(t *testing.T) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: s.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// account writes the folder of a service account for this server.
func (s *apiserver) account(t *testing.T, token string) string {
	t.Helper()
	folder := t.TempDir()
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	for name, content := range map[string][]byte{"ca.crt": certificate, "token": []byte(token)} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// set changes the object, or deletes it if next is nil, and informs the watches.
func (s *apiserver) set(next any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	change := event{"MODIFIED", next}
	switch {
	case next == nil:
		change = event{"DELETED", s.object}
	case s.object == nil:
		change.Type = "ADDED"
	}
	stamp(change.Object, s.version)
	s.object = next
	for watch := range s.watches {
		watch <- change
	}
}

func stamp(object any, version int) {
	object.(metav1.Object).SetResourceVersion(strconv.Itoa(version))
}

// outage ends all connections and refuses new ones until the returned function is called.
func (s *apiserver) outage() (end func()) {
	s.mu.Lock()
	s.down = true
	for watch := range s.watches {
		close(watch)
		delete(s.watches, watch)
	}
	s.mu.Unlock()
	s.CloseClientConnections()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.down = false
	}
}

// awaitWatch waits for a watch, so that a change after it is an event.
func (s *apiserver) awaitWatch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.watches) == 0 {
		s.available.Wait()
	}
}

func (s *apiserver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.URL.Path+"?"+r.URL.RawQuery)
	s.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] = true
	down, object, version := s.down, s.object, s.version
	s.mu.Unlock()
	query := r.URL.Query()
	switch {
	case down:
		http.Error(w, "down", http.StatusServiceUnavailable)
	case query.Get("sendInitialEvents") == "true":
		http.Error(w, "streaming lists are not supported", http.StatusBadRequest)
	case query.Get("watch") == "true":
		s.serveWatch(w, r)
	default:
		items := []any{}
		if object != nil {
			items = append(items, object)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"kind": listKind(r.URL.Path), "apiVersion": "v1",
			"metadata": map[string]string{"resourceVersion": strconv.Itoa(version)}, "items": items,
		})
	}
}

func (s *apiserver) serveWatch(w http.ResponseWriter, r *http.Request) {
	events := make(chan event, 100)
	s.mu.Lock()
	s.watches[events] = true
	s.available.Broadcast()
	if strconv.Itoa(s.version) != r.URL.Query().Get("resourceVersion") && s.object != nil {
		events <- event{"MODIFIED", s.object} // changed between the list and the watch
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watches, events)
	}()
	w.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case change, ok := <-events:
			if !ok {
				return
			}
			_ = json.NewEncoder(w).Encode(change)
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func listKind(path string) string {
	if strings.HasSuffix(path, "/configmaps") {
		return "ConfigMapList"
	}
	return "SecretList"
}

func secretOf(content string, labels map[string]string) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Name: "live", Namespace: "ns", Labels: labels},
		Data:       map[string][]byte{"image-cri-shim.yaml": []byte(content)},
	}
}
