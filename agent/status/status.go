// Package status contains the status file of the agent. The agent writes it on the node, and the
// readiness probe of its pod and the command status read it.
package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"image-cri-shim/agent/host"
)

// File is the path of the status file on the node.
const File = "/run/image-cri-shim-agent/status.json"

// MaxKubeletRestarts is the number of times that the agent may restart kubelet within an hour.
const MaxKubeletRestarts = 3

// Status is the state of the agent and of the shim on the node.
type Status struct {
	Command string    `json:"command"` // agent or remove
	Process int       `json:"pid"`     // of the agent
	Updated time.Time `json:"updated"`

	Version string `json:"version"`        // of the agent and of the shim that it installs
	Hash    string `json:"hash,omitempty"` // of the requested configuration

	State  State  `json:"state"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"` // cause of Ready being false
	Step   string `json:"step,omitempty"`   // in progress

	Applied          *Applied `json:"applied,omitempty"`
	Serving          string   `json:"serving,omitempty"` // version of the running shim
	KubeletConnected bool     `json:"kubeletConnected"`
	KubeletRestarts  int      `json:"kubeletRestarts"` // by the agent within the last hour

	LookUp  *LookUp  `json:"lookUp,omitempty"`
	Drift   *Drift   `json:"drift,omitempty"`
	Failure *Failure `json:"failure,omitempty"`
	Doctor  []string `json:"doctor,omitempty"` // failures that the doctor found on the node
	Removed bool     `json:"removed,omitempty"`
}

// Applied is the last configuration that was applied completely.
type Applied struct {
	Hash    string    `json:"hash"`
	Version string    `json:"version"`
	Time    time.Time `json:"time"`
}

// LookUp is the result of the last look-up in the registries, which precedes each new
// configuration and version.
type LookUp struct {
	Hash        string     `json:"hash"` // of the configuration
	Time        time.Time  `json:"time"`
	Unreachable []Registry `json:"unreachable,omitempty"`
}

// Registry is a registry that could not be reached or refused the login.
type Registry struct {
	Address string `json:"address"`
	Reason  string `json:"reason"`
}

// Drift describes differences between the node and the applied configuration that the agent
// mended.
type Drift struct {
	Count int       `json:"count"` // of all checks of the node that found differences
	Time  time.Time `json:"time"`  // of the last one
	Found []string  `json:"found"` // by the last one
}

// Failure is the last failed attempt to apply a configuration, or to remove the shim.
type Failure struct {
	Hash     string    `json:"hash,omitempty"`
	Version  string    `json:"version"`
	Step     string    `json:"step"`
	Reason   string    `json:"reason"`
	Time     time.Time `json:"time"`
	Attempts int       `json:"attempts"`          // failed in succession
	Next     time.Time `json:"next,omitzero"`     // earliest next attempt; zero: at the next check of the node
	Kubelet  bool      `json:"kubelet,omitempty"` // kubelet did not work through the shim
}

// maxAge is the age from which a status counts as stale. It is several times the interval at
// which the agent checks the node.
const maxAge = 3 * time.Minute

// Write replaces the status file.
func Write(path string, s Status) error {
	content, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			_, err = host.WriteFile(path, append(content, '\n'), 0o644)
		}
	}
	if err != nil {
		return fmt.Errorf("write the status file: %w", err)
	}
	return nil
}

// Read reads the status file.
func Read(path string) (s Status, err error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("the agent has not written its status yet: %w", err)
	}
	if err == nil {
		err = json.Unmarshal(content, &s)
	}
	if err != nil {
		return Status{}, fmt.Errorf("read the status file %s: %w", path, err)
	}
	return s, nil
}

// CheckReady returns the reason why the agent is not ready at the given time, or nil.
func (s Status) CheckReady(now time.Time) error {
	if s.isStale(now) {
		return fmt.Errorf("the status is stale: agent process %d wrote it at %s; kubectl logs of the pod shows why", s.Process, s.Updated.UTC().Format(time.RFC3339))
	}
	if !s.Ready {
		return errors.New(s.reason())
	}
	return nil
}

// reason returns Reason, or the step in progress if there is none.
func (s Status) reason() string {
	switch {
	case s.Reason != "":
		return s.Reason
	case s.Step != "":
		return "in progress: " + s.Step
	}
	return "the first check of the node is in progress"
}

// CheckWriter returns an error unless the writer of the status runs in this process's
// container. All agents of a node share the file, and the readiness of a pod must not come from
// the agent of another one. Both see the process IDs of the node, and the processes of a
// container share its mount namespace.
func (s Status) CheckWriter() error {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return fmt.Errorf("find this container: %w", err)
	}
	writer, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", s.Process))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the status is of process %d, which has ended", s.Process)
	}
	if err != nil {
		return fmt.Errorf("find the agent's container: %w", err)
	}
	if own != writer {
		return fmt.Errorf("the status is of another agent, process %d; this one waits until it ends", s.Process)
	}
	return nil
}
