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
	if err := prepare(ctx, cluster); err != nil {
		fmt.Fprintln(os.Stderr, "prepare the cluster:", err)
		return 1
	}
	shared = cluster
	return m.Run()
}

// pristine are the files of the nodes before the first installation, in the order of the nodes.
var pristine []bed.Snapshot

// prepare pushes the images of the agent, and reads the files of the nodes.
func prepare(ctx context.Context, cluster *bed.Cluster) error {
	for _, version := range []string{oldVersion, newVersion} {
		if err := cluster.PushAgent(ctx, version); err != nil {
			return err
		}
	}
	for _, node := range cluster.Nodes {
		snapshot, err := node.Snapshot()
		if err != nil {
			return err
		}
		pristine = append(pristine, snapshot)
	}
	return prepareNamespace(ctx, cluster)
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
