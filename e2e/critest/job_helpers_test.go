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

// jobVariable holds a job, in the environment of the process that does it.
const jobVariable = "CRITEST_JOB"

// job is a run of the suite on a node of its own, by a process of its own in new network
// and IPC namespaces. The suite uses fixed ports of the host and leaves shared memory
// segments behind, containerd adds bridges and firewall rules: all end with the process,
// and jobs can run at the same time.
type job struct {
	nodeOptions
	Critest, Stub string
	Specs         []string // those to run, each alone; empty: the whole suite
	Times         int      // how often
	Output        string   // the file for the reports
}

// enter sets up the new network and goes on with the command in $@.
const enter = busyboxPath + ` ip link set lo up && exec "$@"`

// run does the job in a process of its own.
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
	// The kernel sends the signal when the thread ends that started the process.
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

// report runs the job, which runs the suite once, and logs what came of it.
func (j job) report(t *testing.T) (report, error) {
	begin := time.Now()
	reports, err := j.run(t.Context())
	if err != nil {
		return nil, err
	}
	t.Logf("%s: %s in %s", j.Mode, reports[0], time.Since(begin).Round(time.Second))
	return reports[0], nil
}

// reruns is how often a spec whose results differ is run again alone.
const reruns = 3

// rerun returns a job that runs specs again, each alone.
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
