package fleet

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// TestMemory reads a large cluster, of which each node has an agent, and 30 pods of which one
// waits for its image. The memory in use must not grow with the number of pods. The default is
// 15,000 pods; FLEET_PODS=300000 is a cluster of 10,000 nodes.
func TestMemory(t *testing.T) {
	total := 15_000
	if text := os.Getenv("FLEET_PODS"); text != "" {
		total, _ = strconv.Atoi(text)
	}
	const perNode = 30
	var most, pages uint64
	agent, waiting := recordedPod(t, "ready"), recordedPod(t, "pull-failing")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if pages++; pages%10 == 0 {
			runtime.GC()
			var memory runtime.MemStats
			runtime.ReadMemStats(&memory)
			most = max(most, memory.HeapAlloc)
		}
		count, pod := total, waiting
		if strings.Contains(r.URL.RawQuery, "labelSelector") {
			count, pod = total/perNode, agent
		}
		from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		list := corev1.PodList{}
		for i := from; i < min(from+pageSize, count); i++ {
			p := *pod
			p.Name = fmt.Sprint("pod-", i)
			p.Spec.NodeName = fmt.Sprint("node-", i%(total/perNode))
			if pod == waiting && i >= total/perNode {
				p.Status.ContainerStatuses = nil
			}
			list.Items = append(list.Items, p)
		}
		list.Kind, list.APIVersion = "PodList", "v1"
		if next := from + pageSize; next < count {
			list.Continue = strconv.Itoa(next)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(list)
	}))
	defer server.Close()
	core, err := client.NewForConfig(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	f, err := Read(t.Context(), core, Options{})
	if err != nil {
		t.Fatal(err)
	}
	nodes := total / perNode
	if len(f.Nodes) != nodes || *f.Summary.PullsFailing != nodes {
		t.Errorf("found %d nodes and %d failing pulls, want %d", len(f.Nodes), *f.Summary.PullsFailing, nodes)
	}
	const limit = 48 << 20
	t.Logf("%d pods in %d pages and %v, at most %d MiB in use", total, pages, time.Since(began).Round(time.Millisecond), most>>20)
	if most > limit {
		t.Errorf("%d MiB in use, want at most %d", most>>20, limit>>20)
	}
}
