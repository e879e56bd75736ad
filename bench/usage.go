package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// pids returns the IDs of a process and its children, which include nginx's workers.
func (p *process) pids() ([]int, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.pid, p.pid))
	if err != nil {
		return nil, fmt.Errorf("find child processes: %w", err)
	}
	members := []int{p.pid}
	for field := range strings.FieldsSeq(string(content)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		members = append(members, pid)
	}
	return members, nil
}

// cpu returns the CPU time of the process and its children so far. The kernel counts it in
// nanoseconds for each thread. The time of threads that have ended is missing; Go and
// similar runtimes keep their threads.
func (p *process) cpu() (time.Duration, error) {
	members, err := p.pids()
	if err != nil {
		return 0, err
	}
	var total time.Duration
	counted := 0
	for _, pid := range members {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil {
			return 0, err
		}
		for _, thread := range threads {
			content, err := os.ReadFile(thread)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return 0, err
			}
			ran, _, _ := bytes.Cut(content, []byte(" "))
			nanoseconds, err := strconv.ParseInt(string(ran), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", thread, err)
			}
			total += time.Duration(nanoseconds)
			counted++
		}
	}
	if counted == 0 {
		return 0, errors.New("the kernel does not report the CPU time of threads (schedstat)")
	}
	return total, nil
}

// memory returns the resident memory of the process and its children in bytes, now and at
// its peak since resetPeak. Shared memory counts for each process.
func (p *process) memory() (resident, peak int64, err error) {
	members, err := p.pids()
	if err != nil {
		return 0, 0, err
	}
	for _, pid := range members {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, 0, err
		}
		lines := bufio.NewScanner(bytes.NewReader(content))
		for lines.Scan() {
			key, value, _ := strings.Cut(lines.Text(), ":")
			if key != "VmRSS" && key != "VmHWM" {
				continue
			}
			kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				return 0, 0, fmt.Errorf("memory of process %d: %w", pid, err)
			}
			if key == "VmRSS" {
				resident += kilobytes << 10
			} else {
				peak += kilobytes << 10
			}
		}
	}
	return resident, peak, nil
}

// resetPeak sets the peak of each process to its current resident memory.
func (p *process) resetPeak() error {
	members, err := p.pids()
	if err != nil {
		return err
	}
	for _, pid := range members {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
			return fmt.Errorf("reset the peak of resident memory: %w", err)
		}
	}
	return nil
}
