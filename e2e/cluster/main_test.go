// Package cluster tests the agent and the chart on a real Kubernetes cluster of two nodes,
// which package bed starts. `make test-cluster` builds what the tests need and runs them.
package cluster

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"image-cri-shim/e2e/cluster/bed"
)

// shared is the cluster of all tests, because it takes half a minute to start.
var shared *bed.Cluster

func TestMain(m *testing.M) {
	klog.SetLogger(klog.Logger{}) // the clients would log each error that they return
	os.Exit(bed.Isolate(func() int { return testOnCluster(m) }))
}

func testOnCluster(m *testing.M) int {
	if bed.Folder() == "" {
		return m.Run() // the tests are skipped
	}
	if os.Getenv(holdVariable) != "" {
		return holdFolder()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cluster, err := bed.Start(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the cluster:", err)
		return 1
	}
	defer cluster.Stop()
	shared = cluster
	return m.Run()
}

// needCluster skips a test if no cluster can run here.
func needCluster(t *testing.T) *bed.Cluster {
	t.Helper()
	if shared == nil {
		t.Skip("a cluster can't run here:", strings.ReplaceAll(bed.Missing().Error(), "\n", ", "))
	}
	return shared
}

// testContext returns a context that ends before go test's timeout would end the process.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
