package fleet

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// apiserver is an HTTP server that answers lists of pods and events as kube-apiserver does: with
// selectors, pages, refusals and expired tokens.
type apiserver struct {
	pods   []corev1.Pod
	events []corev1.Event

	forbidden []string // paths

	mu       sync.Mutex
	requests []string
	expire   int  // number of tokens that are expired
	offer    bool // whether an expired token is answered with another one
}

func (s *apiserver) client(t *testing.T) client.CoreV1Interface {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	core, err := client.NewForConfig(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	return core
}

func (s *apiserver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.URL.Path+"?"+r.URL.RawQuery)
	for _, path := range s.forbidden {
		if r.URL.Path == path {
			s.fail(w, metav1.Status{Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: "pods is forbidden: User \"u\" cannot list resource \"pods\""})
			return
		}
	}
	query := r.URL.Query()
	from, _ := strconv.Atoi(strings.TrimPrefix(query.Get("continue"), "new-"))
	if query.Get("continue") != "" && s.expire > 0 {
		s.expire--
		status := metav1.Status{Code: http.StatusGone, Reason: metav1.StatusReasonExpired, Message: "the provided continue parameter is too old"}
		if s.offer {
			status.Continue = fmt.Sprintf("new-%d", from)
		}
		s.fail(w, status)
		return
	}
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit != pageSize {
		s.fail(w, metav1.Status{Code: http.StatusBadRequest, Reason: metav1.StatusReasonBadRequest, Message: "the test requires limit=500"})
		return
	}
	labelSelector, _ := labels.Parse(query.Get("labelSelector"))
	fieldSelector, _ := fields.ParseSelector(query.Get("fieldSelector"))
	namespace := ""
	if rest, ok := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/"); ok {
		namespace, _, _ = strings.Cut(rest, "/")
	}
	var items []any
	kind := "PodList"
	if strings.HasSuffix(r.URL.Path, "/events") {
		kind = "EventList"
		for _, e := range s.events {
			if fieldSelector.Matches(fields.Set{"involvedObject.kind": e.InvolvedObject.Kind, "reason": e.Reason}) && e.Namespace == namespace {
				items = append(items, e)
			}
		}
	} else {
		for _, pod := range s.pods {
			of := fields.Set{"status.phase": string(pod.Status.Phase), "spec.nodeName": pod.Spec.NodeName}
			if labelSelector.Matches(labels.Set(pod.Labels)) && fieldSelector.Matches(of) && (namespace == "" || pod.Namespace == namespace) {
				items = append(items, pod)
			}
		}
	}
	answer := map[string]any{"apiVersion": "v1", "kind": kind}
	if end := from + limit; end < len(items) {
		answer["metadata"] = map[string]any{"continue": strconv.Itoa(end)}
		items = items[:end]
	}
	answer["items"] = items[min(from, len(items)):]
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *apiserver) fail(w http.ResponseWriter, status metav1.Status) {
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	status.Status = metav1.StatusFailure
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(status.Code))
	_ = json.NewEncoder(w).Encode(status)
}
