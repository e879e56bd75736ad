package cluster

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"image-cri-shim/e2e/cluster/bed"
)

// holdVariable makes an isolated test binary print its folder and wait for its end.
const holdVariable = "CLUSTER_TEST_HOLD"

// TestNothingRemains kills a process with a cluster's folder, control group and
// namespaces, and starts another: nothing of the first may remain.
func TestNothingRemains(t *testing.T) {
	needCluster(t)
	kill := func(command *exec.Cmd) { _ = command.Process.Kill(); _ = command.Wait() }
	first, folder, _ := hold(t)
	if _, err := os.Stat(folder); err != nil {
		t.Errorf("the folder of a running process: %v", err)
	}
	second, other, _ := hold(t)
	for _, running := range []string{folder, other} {
		if left := remains(t, running); len(left) == 0 {
			t.Errorf("two processes run at once, but %s has no files", running)
		}
	}
	kill(first)
	kill(second)
	if len(remains(t, folder)) == 0 {
		t.Fatal("the killed process has removed its folder, so the test shows nothing")
	}
	third, _, output := hold(t)
	_ = output.Close() // like the end of go test
	if err := third.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	_ = third.Wait() // fails, because of the interrupt
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "image-cri-shim-cluster-*")); len(left) > 0 {
		t.Errorf("folders remain: %s", left)
	}
	for _, ended := range []string{folder, other} {
		if left := remains(t, ended); len(left) > 0 {
			t.Errorf("of a killed process remain: %s", left)
		}
	}
}

// hold starts the test binary isolated, and returns once it has a control group.
func hold(t *testing.T) (command *exec.Cmd, folder string, output io.Closer) {
	t.Helper()
	command = exec.Command("/proc/self/exe", "-test.run=^$")
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); name != bed.FolderVariable {
			command.Env = append(command.Env, variable)
		}
	}
	command.Env = append(command.Env, holdVariable+"=1")
	reader, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = command.Stdout
	if _, err = command.StdinPipe(); err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil {
		t.Fatalf("the isolated process: %v", err)
	}
	return command, strings.TrimSpace(line), reader
}

// holdFolder is the body of the isolated process of [hold]. It ends with the standard input.
func holdFolder() int {
	if err := os.Mkdir(filepath.Join("/sys/fs/cgroup/pids", filepath.Base(bed.Folder())+"-node1"), 0o755); err != nil {
		os.Stderr.WriteString(err.Error())
		return 1
	}
	os.Stdout.WriteString(bed.Folder() + "\n")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// remains returns the folder and the control groups of an isolated process, and the processes
// that name the folder.
func remains(t *testing.T, folder string) (found []string) {
	t.Helper()
	for _, pattern := range []string{folder, "/sys/fs/cgroup/*/" + filepath.Base(folder) + "-*"} {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, matches...)
	}
	return found
}
