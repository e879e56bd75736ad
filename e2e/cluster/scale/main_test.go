// Package scale measures the agent and the chart on a thousand nodes: a real control plane and
// one real node, and nodes that kwok simulates. Package bed starts them. `make test-scale`
// builds what the tests need and runs them. The figures in docs/fleet.md are from its log.
package scale

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"image-cri-shim/e2e/cluster/bed"
)

// shared is the fleet of all tests, and simulated is the number of its simulated nodes.
var (
	shared    *bed.Fleet
	simulated int
)

func TestMain(m *testing.M) {
	klog.SetLogger(klog.Logger{}) // the clients would log each error that they return
	os.Exit(bed.Isolate(func() int { return testOnFleet(m) }))
}

func testOnFleet(m *testing.M) int {
	if bed.Folder() == "" || bed.MissingFleet() != nil {
		return m.Run() // the tests are skipped
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	fleet, err := startFleet(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the fleet:", err)
		return 1
	}
	defer fleet.Stop()
	shared = fleet
	return m.Run()
}

// startFleet starts the nodes, and prepares the namespace of the release.
func startFleet(ctx context.Context) (*bed.Fleet, error) {
	var err error
	if simulated, err = number("FLEET_NODES", 1000); err != nil {
		return nil, err
	}
	refused, err := secretName(ctx, goodValues().with("config", badConfig))
	if err != nil {
		return nil, err
	}
	began := time.Now()
	fleet, err := bed.StartFleet(ctx, simulated, refused)
	if err != nil {
		return nil, err
	}
	fmt.Printf("%d simulated nodes are ready after %v\n", simulated, time.Since(began).Round(time.Second))
	if err := prepareNamespace(ctx, fleet); err != nil {
		fleet.Stop()
		return nil, err
	}
	return fleet, nil
}

// number returns the number in an environment variable.
func number(variable string, otherwise int) (int, error) {
	value := cmp.Or(os.Getenv(variable), strconv.Itoa(otherwise))
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s: found %q, expected a positive number", variable, value)
	}
	return n, nil
}

// testContext skips a test if no fleet can run here. It returns a context with the time that a
// test may take.
func testContext(t *testing.T) context.Context {
	t.Helper()
	if shared == nil {
		t.Skip("a fleet can't run here:", strings.ReplaceAll(bed.MissingFleet().Error(), "\n", ", "))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Minute+time.Duration(nodes())*time.Second/2)
	t.Cleanup(cancel)
	return ctx
}
