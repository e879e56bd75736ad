// Package critest runs the CRI conformance suite (critest) and crictl, both from
// sigs.k8s.io/cri-tools, directly on containerd and through the shim, and compares the
// results. `make test-critest` runs the suite, `make test` runs everything else.
package critest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/klog/v2"

	"image-cri-shim/e2e/testbed"
)

// folder is the parent of the built programs and all other files of the tests.
var folder string

func TestMain(m *testing.M) {
	klog.SetLogger(klog.Logger{})      // kubelet's client would log each error that it returns
	_ = flag.Set("test.parallel", "2") // the suite mostly waits
	run := m.Run
	if job := os.Getenv(jobVariable); job != "" {
		run = func() int { return runEncodedJob(job) }
	}
	code, err := inFolder(run)
	if err == nil && code == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// inFolder calls run with a temporary folder.
func inFolder(run func() int) (code int, err error) {
	folder, err = os.MkdirTemp("", "critest-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	return run(), nil
}

// programs are the paths of the programs that the tests run.
type programs struct{ Shim, Stub, Critest, Crictl string }

// build builds the programs. Go caches the compiled packages.
func build(t *testing.T) programs {
	t.Helper()
	if err := testbed.ContainerdMissing(); err != nil {
		t.Skip("containerd can't run here:", strings.ReplaceAll(err.Error(), "\n", ", "))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
	defer cancel()
	shim, err := testbed.BuildShim(ctx, folder)
	if err != nil {
		t.Fatal(err)
	}
	built := programs{shim, filepath.Join(folder, "stub"), filepath.Join(folder, "critest"), filepath.Join(folder, "crictl")}
	for _, arguments := range [][]string{
		{"build", "-buildvcs=false", "-o", built.Stub, "./stub"},
		{"build", "-buildvcs=false", "-o", built.Crictl, "sigs.k8s.io/cri-tools/cmd/crictl"},
		{"test", "-c", "-o", built.Critest, "sigs.k8s.io/cri-tools/cmd/critest"},
	} {
		cmd := exec.CommandContext(ctx, "go", arguments...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // the stub must be static
		if output, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(arguments, " "), err, output)
		}
	}
	if err := useStandIn(built.Critest); err != nil {
		t.Fatal(err)
	}
	return built
}
