package rollout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"image-cri-shim/agent/host"
	"image-cri-shim/agent/service"
	"image-cri-shim/agent/status"
)

const stateName = "state.json"

// Record is the agent's memory on the node. It survives the agent and reboots. It contains the
// last good configuration with its passwords, and only root may read it.
type Record struct {
	folder string
	log    logrus.FieldLogger
	state  state
}

// state is the content of the state file.
type state struct {
	MachineID string           `json:"machineID"`
	Applied   *status.Applied  `json:"applied,omitempty"`
	Files     service.Files    `json:"files,omitempty"`     // of Applied
	Merged    bool             `json:"merged,omitempty"`    // Files have the content of sealos' ConfigMap
	Reachable []string         `json:"reachable,omitempty"` // registries, with Applied
	LookUp    *status.LookUp   `json:"lookUp,omitempty"`
	Restarts  []time.Time      `json:"restarts,omitempty"` // of kubelet by the agent
	Failures  []status.Failure `json:"failures,omitempty"` // one for each release
	Drift     *status.Drift    `json:"drift,omitempty"`
}

// OpenRecord reads the state in folder. It discards a state of another machine, which an image
// of a disk brings, and one that can't be parsed. After the latter, kubelet counts as restarted
// as often as permitted.
func OpenRecord(folder, machineID string, log logrus.FieldLogger) (*Record, error) {
	r := &Record{folder: folder, log: log}
	content, err := os.ReadFile(filepath.Join(folder, stateName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("read the agent's state: %w", err)
	default:
		if err := json.Unmarshal(content, &r.state); err != nil {
			log.WithError(err).Warn("the agent's state can't be parsed, beginning with an empty one, and not restarting kubelet for an hour")
			r.state = state{MachineID: machineID, Restarts: slices.Repeat([]time.Time{time.Now()}, maxRestarts)}
			if err := r.save(); err != nil { // otherwise the hour begins again with each agent
				log.WithError(err).Warn("the agent's state can't be replaced")
			}
		}
	}
	if r.state.MachineID != machineID {
		if r.state.MachineID != "" {
			log.Warn("the agent's state is of another machine, beginning with an empty one")
		}
		r.state = state{MachineID: machineID}
	}
	if a := r.state.Applied; a != nil && r.state.Files.Hash() != a.Hash {
		r.state.Applied, r.state.Files, r.state.Merged = nil, nil, false
	}
	r.clampTimes(time.Now())
	return r, nil
}

// Exists reports whether the folder exists, so that the agent has been here.
func (r *Record) Exists() bool {
	_, err := os.Stat(r.folder)
	return err == nil
}

// save writes the state.
func (r *Record) save() error {
	content, err := json.MarshalIndent(r.state, "", "  ")
	if err == nil {
		if err = os.MkdirAll(r.folder, 0o700); err == nil {
			_, err = host.WriteFile(filepath.Join(r.folder, stateName), append(content, '\n'), 0o600)
		}
	}
	if err != nil {
		return fmt.Errorf("write the agent's state: %w", err)
	}
	return nil
}

// remove deletes the state.
func (r *Record) remove() error {
	r.state = state{MachineID: r.state.MachineID}
	if err := os.RemoveAll(r.folder); err != nil {
		return fmt.Errorf("delete the agent's state: %w", err)
	}
	return nil
}

// isApplied reports whether the release is the last one that was applied.
func (r *Record) isApplied(wanted release) bool {
	a := r.state.Applied
	return a != nil && wanted == release{a.Hash, a.Version}
}

// lastGood returns the last configuration that was applied, if its version is this one.
func (r *Record) lastGood(version string) (Desired, bool) {
	a := r.state.Applied
	if a == nil || a.Version != version {
		return Desired{}, false
	}
	return Desired{Files: r.state.Files, Version: version}, true
}

// applied records a success. reachable is nil if the registries were not looked up.
func (r *Record) applied(d Desired, reachable []string, lookedUp bool) error {
	wanted := d.release()
	r.state.Failures = slices.DeleteFunc(r.state.Failures, func(f status.Failure) bool { return wanted == release{f.Hash, f.Version} })
	if !r.isApplied(wanted) {
		r.state.Failures = nil
		r.state.Applied = &status.Applied{Hash: wanted.hash, Version: wanted.version, Time: time.Now()}
		r.state.Files = d.Files
	}
	r.state.Merged = d.Merged
	if lookedUp {
		r.state.Reachable = reachable
	}
	return r.save()
}

// mended records drift.
func (r *Record) mended(found []string) error {
	count := 1
	if r.state.Drift != nil {
		count += r.state.Drift.Count
	}
	r.state.Drift = &status.Drift{Count: count, Time: time.Now(), Found: slices.Clone(found)}
	return r.save()
}
