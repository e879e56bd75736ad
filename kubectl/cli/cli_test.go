package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"image-cri-shim/kubectl/fleet"
)

// TestExitCodes requires the exit code, and texts of standard output and error, for clusters and
// arguments of each kind.
func TestExitCodes(t *testing.T) {
	ready := useServer(t, agentPod(true), http.StatusOK)
	unready := useServer(t, agentPod(false), http.StatusOK)
	empty := useServer(t, nil, http.StatusOK)
	denied := useServer(t, nil, http.StatusForbidden)
	expired := useServer(t, nil, http.StatusUnauthorized)
	slow := useServer(t, nil, 0)
	gone := useAddress(t, "http://127.0.0.1:1")
	hostile := useAddress(t, httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusInternalServerError)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Message: "a\x1b[2Jb\u202ec\n" + strings.Repeat("x", 1<<20)})
	})).URL)
	for _, test := range []struct {
		name, kubeconfig string
		arguments        []string
		code             int
		stdout, stderr   string
	}{
		{"ready", ready, nil, 0, "1 node: 1 ready; version v1.2.3;", ""},
		{"ready as JSON", ready, []string{"-o", "json"}, 0, `"state": "ready"`, ""},
		{"only unready", ready, []string{"--not-ready"}, 0, "1 node: 1 ready", ""},
		{"unready", unready, []string{"-owide", "worker-1"}, 1, "IMAGES FAILING", ""},
		{"no agents", empty, nil, 2, "", "no pods of the agent found\nhint: is the chart installed?"},
		{"unknown node", ready, []string{"worker-9"}, 2, "", "node worker-9: no pods of the agent found\nhint: check the name"},
		{"other namespace", empty, []string{"-n", "other"}, 2, "", "no pods of the agent found\nhint: is the chart installed in this namespace?"},
		{"forbidden", denied, nil, 2, "", "forbidden"},
		{"not logged in", expired, nil, 2, "", "log in again"},
		{"timeout", slow, []string{"--timeout", "300ms"}, 2, "", "the requests took longer than 300ms, set --timeout"},
		{"no kubeconfig", filepath.Join(t.TempDir(), "missing"), nil, 2, "", "/missing\nhint: set $KUBECONFIG"},
		{"no server", gone, nil, 2, "", "connection refused"},
		{"escape sequences", hostile, nil, 2, "", "list the pods of the agents: a [2Jb c; xxx"},
		{"kubeconfig", ready, []string{"--kubeconfig", "/does/not/exist"}, 2, "", "/does/not/exist"},
		{"other context", ready, []string{"--context", "other"}, 2, "", "kubectl config get-contexts"},
		{"format", ready, []string{"-o", "yaml"}, 64, "", `--output: found "yaml", expected text, wide or json`},
		{"unknown flag", ready, []string{"--watch"}, 64, "", `unknown flag "--watch"`},
		{"unknown short flag", ready, []string{"-w"}, 64, "", `unknown flag "-w"`},
		{"no duration", ready, []string{"--timeout", "5"}, 64, "", "timeout"},
		{"negative duration", ready, []string{"--timeout=-5s"}, 64, "", "expected a positive duration"},
		{"late flag", ready, []string{"worker-1", "-o", "json"}, 64, "", "put flags before nodes"},
		{"empty namespace", ready, []string{"-n", ""}, 64, "", "flag --namespace needs a value"},
		{"empty node", ready, []string{""}, 64, "", "expected the name of a node"},
		{"version", ready, []string{"--version"}, 0, "kubectl-image_cri_shim version", ""},
		{"help", ready, []string{"--help"}, 0, "EXIT CODES", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", test.kubeconfig)
			var stdout, stderr strings.Builder
			code := Main(t.Context(), append([]string{"kubectl-image_cri_shim"}, test.arguments...), &stdout, &stderr)
			if code != test.code || !strings.Contains(stdout.String(), test.stdout) || !strings.Contains(stderr.String(), test.stderr) || (test.stderr == "") != (stderr.Len() == 0) {
				t.Errorf("exit code %d, want %d\n%s\n%s", code, test.code, stdout.String(), stderr.String())
			}
			if code == exitUsage && !strings.Contains(stderr.String(), "\nhint: see kubectl image-cri-shim --help\n") {
				t.Errorf("no hint in %q", stderr.String())
			}
		})
	}
}

// TestTimeoutOfRequest requires that the timeout of one request, or of a connection, is not
// reported as that of all requests.
func TestTimeoutOfRequest(t *testing.T) {
	_, err := (&net.Dialer{Timeout: time.Nanosecond}).DialContext(t.Context(), "tcp", "127.0.0.1:1")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if got := withHint(t.Context(), cli.NewContext(nil, flag.NewFlagSet("", flag.ContinueOnError), nil), err); strings.Contains(got.Error(), "--timeout") {
		t.Error(got)
	}
}

// TestNamespaceOfContext requires that the context's namespace is used if listing the pods of
// all namespaces is forbidden.
func TestNamespaceOfContext(t *testing.T) {
	t.Setenv("KUBECONFIG", useServer(t, agentPod(true), http.StatusForbidden))
	var stdout, stderr strings.Builder
	if code := Main(t.Context(), []string{"x", "-o", "json"}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	var f fleet.Fleet
	if err := json.Unmarshal([]byte(stdout.String()), &f); err != nil || len(f.Nodes) != 1 || len(f.Notes) != 2 || f.Nodes[0].PullsFailing != nil {
		t.Errorf("%v: %s, want one node and two notes", err, stdout.String())
	}
}

// useAddress returns the kubeconfig of an apiserver at an address.
func useAddress(t *testing.T, address string) string {
	t.Helper()
	config := api.NewConfig()
	config.Clusters["test"] = &api.Cluster{Server: address}
	config.Contexts["test"] = &api.Context{Cluster: "test", Namespace: "tools"}
	config.CurrentContext = "test"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// agentPod returns a pod of an agent.
func agentPod(ready bool) *corev1.Pod {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "agent", Namespace: "tools", Labels: map[string]string{"app.kubernetes.io/component": "agent"}, CreationTimestamp: metav1.Now()},
		Spec:       corev1.PodSpec{NodeName: "worker-1", Containers: []corev1.Container{{Name: "agent", Image: "hub/agent:v1.2.3"}}},
		Status: corev1.PodStatus{
			Phase:             corev1.PodRunning,
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: status}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "agent", Ready: ready, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}},
		},
	}
}

// useServer starts an apiserver with one pod, and returns its kubeconfig. The pods of namespace
// tools can be listed if there is one. Other lists get a status code; 0 is no answer.
func useServer(t *testing.T, pod *corev1.Pod, code int) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch own := r.URL.Path == "/api/v1/namespaces/tools/pods" && pod != nil; {
		case code == 0:
			select {
			case <-r.Context().Done():
			case <-time.After(10 * time.Second):
			}
		case code != http.StatusOK && !own:
			w.WriteHeader(code)
			_ = json.NewEncoder(w).Encode(metav1.Status{
				TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: int32(code),
				Reason: map[int]metav1.StatusReason{403: metav1.StatusReasonForbidden, 401: metav1.StatusReasonUnauthorized}[code], Message: "pods is forbidden",
			})
		case strings.HasSuffix(r.URL.Path, "/events"):
			_ = json.NewEncoder(w).Encode(corev1.EventList{TypeMeta: metav1.TypeMeta{Kind: "EventList", APIVersion: "v1"}})
		default:
			list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}}
			if pod != nil {
				list.Items = append(list.Items, *pod)
			}
			_ = json.NewEncoder(w).Encode(list)
		}
	}))
	t.Cleanup(server.Close)
	return useAddress(t, server.URL)
}
