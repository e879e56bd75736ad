package bed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// prefix is the beginning of the names of everything outside the namespaces: folders in
// the folder for temporary files, and control groups.
const prefix = "image-cri-shim-cluster-"

// FolderVariable is the environment variable that contains the folder of an isolated process.
const FolderVariable = "CLUSTER_BED_FOLDER"

// Isolate calls run in a child process with its own network, mounts and process IDs, and
// returns the child's exit code. When the child ends, even by SIGKILL, the kernel ends all
// processes, mounts and network devices in its namespaces. Isolate then removes its folder and
// control groups. Those of a former process that was killed are removed at the next start.
// If a cluster can't run here, run is called in this process.
func Isolate(run func() int) int {
	if Folder() != "" && os.Getpid() == 1 {
		code, err := runInit()
		if err != nil {
			fmt.Fprintln(os.Stderr, "run in new namespaces:", err)
			return 1
		}
		return code
	}
	if Folder() != "" {
		return run()
	}
	if Missing() != nil {
		return run()
	}
	if err := sweep(); err != nil {
		fmt.Fprintln(os.Stderr, "remove the files of a former run:", err)
	}
	folder, lock, err := createFolder()
	if err != nil {
		fmt.Fprintln(os.Stderr, "create the folder of the cluster:", err)
		return 1
	}
	defer func() { _ = lock.Close() }()
	code := runIsolated(folder)
	if err := remove(folder); err != nil {
		fmt.Fprintln(os.Stderr, "remove the files of the cluster:", err)
		return max(code, 1)
	}
	return code
}

// isolated lists the namespaces that the child process does not share.
const isolated = unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC

// runIsolated runs this program again in its own namespaces. A signal ends it.
func runIsolated(folder string) int {
	runtime.LockOSThread() // the child gets Pdeathsig when the thread ends
	defer runtime.UnlockOSThread()
	temporary := filepath.Join(folder, "tmp")
	if err := os.Mkdir(temporary, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	child := exec.Command("/proc/self/exe", os.Args[1:]...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.Env = append(os.Environ(), FolderVariable+"="+folder, "TMPDIR="+temporary)
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: isolated, Pdeathsig: syscall.SIGKILL}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	// Output to a reader that has ended, such as a killed go test, must not end this process.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if err := child.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "start in new namespaces:", err)
		return 1
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }() // until the child has ended
	for {
		select {
		case received := <-signals:
			fmt.Fprintln(os.Stderr, "ending the cluster:", received)
			_ = child.Process.Kill()
		case err := <-ended:
			if exit := new(exec.ExitError); err != nil && (!errors.As(err, &exit) || !exit.Exited()) {
				fmt.Fprintln(os.Stderr, "the isolated process:", err)
				return 1
			}
			return child.ProcessState.ExitCode()
		}
	}
}

// runInit is process 1 of the new namespaces. It runs this program again and returns its exit
// code, and reaps all orphans: process 1 of a node does not end before each process of the node
// has been reaped, and the parent of some is a killed nsenter.
func runInit() (int, error) {
	if err := prepareNamespaces(); err != nil {
		return 0, err
	}
	child, err := os.StartProcess("/proc/self/exe", os.Args, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return 0, err
	}
	for {
		var status unix.WaitStatus
		ended, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case ended == child.Pid && status.Signaled():
			return 0, fmt.Errorf("the program ended with the signal %v", status.Signal())
		case ended == child.Pid:
			return status.ExitStatus(), nil
		}
	}
}

// prepareNamespaces lets the mounts of this process stay in its namespace, and makes
// /proc show its process IDs.
func prepareNamespaces() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// createFolder creates the folder of a run, and locks it until the returned file is closed.
func createFolder() (folder string, lock *os.File, err error) {
	for {
		if folder, err = os.MkdirTemp("", prefix); err != nil {
			return "", nil, err
		}
		lock, err = lockFolder(folder)
		if err == nil {
			if err = os.Chmod(folder, 0o755); err == nil {
				return folder, lock, nil
			}
			_ = lock.Close()
		}
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.EWOULDBLOCK) {
			return "", nil, err
		} // another process has just taken the folder for one of a former run
	}
}

func lockFolder(folder string) (*os.File, error) {
	file, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// sweep removes the folders and control groups of runs that have ended.
func sweep() error {
	folders, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	if err != nil {
		return err
	}
	var problems []error
	for _, folder := range folders {
		lock, err := lockFolder(folder)
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
			continue // in use, or removed
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		problems = append(problems, remove(folder), lock.Close())
	}
	return errors.Join(problems...)
}

// remove removes a run's folder and control groups.
func remove(folder string) error {
	for _, hierarchy := range hierarchies() {
		groups, _ := filepath.Glob(filepath.Join(cgroups, hierarchy, group(folder, "*")))
		for _, top := range groups {
			if err := removeGroup(top); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(folder)
}

// Folder returns the folder of this isolated process.
func Folder() string { return os.Getenv(FolderVariable) }

// program returns the path of a program that `make test-cluster` has built.
func program(name string) (string, error) {
	folder := os.Getenv("CLUSTER_BIN")
	if folder == "" {
		folder = "../../bin/cluster"
	}
	path, err := filepath.Abs(filepath.Join(folder, name))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: run make test-cluster", err)
	}
	return path, nil
}

// Missing returns the reasons why a cluster can't run on this machine, or nil if it can.
func Missing() error {
	var problems []error
	if os.Geteuid() != 0 {
		problems = append(problems, errors.New("not root"))
	}
	for _, binary := range []string{"/lib/systemd/systemd", "containerd", "docker-registry", "ip", "mount", "nsenter", "pivot_root", "prometheus", "runc", "setpriv", "unshare", "/usr/lib/cni/bridge", "/bin/busybox"} {
		if _, err := exec.LookPath(binary); err != nil {
			problems = append(problems, fmt.Errorf("%s is not installed", binary))
		}
	}
	if err := checkGroups(); err != nil {
		problems = append(problems, err)
	}
	if systems, err := os.ReadFile("/proc/filesystems"); err != nil || !strings.Contains(string(systems), "\toverlay\n") {
		problems = append(problems, errors.New("the kernel has no overlay file system"))
	}
	for _, name := range []string{"components", "etcd"} {
		if _, err := program(name); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}
