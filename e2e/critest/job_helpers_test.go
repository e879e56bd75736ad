package critest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// jobVariable is the environment variable with the job of the process that runs it.
const jobVariable = "CRITEST_JOB"

// job is a run of the suite on a new node, in a separate process with new network and IPC
// namespaces. The suite uses fixed ports of the host and leaves shared memory segments
// behind, and containerd adds bridges and firewall rules. All of this ends with the process,
// so jobs can run concurrently.
type job struct {
	nodeOptions
	Critest, Stub string
	Specs         []string // the specs to run, each alone; empty: the whole suite
	Times         int      // number of runs
	Output        string   // path of the file for the reports
}

// enter sets up the new network and executes the command in $@.
const enter = busyboxPath + ` ip link set lo up && exec "$@"`

// run runs the job in a new process.
func (j job) run(ctx context.Context) ([]report, error) {
	files, err := os.MkdirTemp(folder, "job-")
	if err != nil {
		return nil, err
	}
	j.Output = filepath.Join(files, "reports.json")
	content, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "unshare", "--net", "--ipc", "--", "/bin/sh", "-c", enter, "sh", self)
	cmd.Env = append(os.Environ(), jobVariable+"="+string(content))
	// The kernel sends the parent-death signal when the thread that started the process ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	printed, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("run the suite (%s): %w\n%s", j.Mode, err, printed)
	}
	output, err := os.ReadFile(j.Output)
	if err != nil {
		return nil, err
	}
	var reports []report
	return reports, json.Unmarshal(output, &reports)
}

// report runs the job, which runs the suite once, and logs a summary.
func (j job) report(t *testing.T) (report, error) {
	begin := time.Now()
	reports, err := j.run(t.Context())
	if err != nil {
		return nil, err
	}
	t.Logf("%s: %s in %s", j.Mode, reports[0], time.Since(begin).Round(time.Second))
	return reports[0], nil
}

// reruns is the number of repetitions of a spec whose results differ.
const reruns = 3

// rerun returns a job that repeats specs, each alone.
func (j job) rerun(specs []string) job {
	j.Specs, j.Times = specs, reruns
	return j
}

// runEncodedJob runs an encoded job in this process and returns its exit code.
func runEncodedJob(encoded string) int {
	var j job
	err := json.Unmarshal([]byte(encoded), &j)
	if err == nil {
		err = j.runNode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (j job) runNode() (err error) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	start, cancelStart := context.WithTimeout(ctx, 2*time.Minute)
	defer cancelStart()
	registry, err := startRegistry(start, j.Stub)
	if err != nil {
		return err
	}
	defer registry.Stop()
	node, err := startNode(start, registry, j.nodeOptions)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.stop()) }()
	var reports []report
	for range max(1, j.Times) {
		report, err := j.runOnce(ctx, node)
		if err != nil {
			return err
		}
		reports = append(reports, report)
	}
	content, err := json.Marshal(reports)
	if err != nil {
		return err
	}
	return os.WriteFile(j.Output, content, 0o600)
}

// runOnce runs the whole suite, or each of the specs alone.
func (j job) runOnce(ctx context.Context, node *node) (report, error) {
	if len(j.Specs) == 0 {
		return runSuite(ctx, j.Critest, node, "")
	}
	all := make(report)
	for _, spec := range j.Specs {
		one, err := runSuite(ctx, j.Critest, node, spec)
		if err != nil {
			return nil, err
		}
		result, ran := one[spec]
		if !ran {
			return nil, fmt.Errorf("critest has not run %q alone", spec)
		}
		all[spec] = result
	}
	return all, nil
}
