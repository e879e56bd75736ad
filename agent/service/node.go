package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"image-cri-shim/agent/host"
)

// unitBefore is the state of a unit before the first Apply.
type unitBefore struct{ Enabled, Active bool }

// stateBefore is a state directory of the shim before its first use.
type stateBefore struct {
	Path    string
	Existed bool // the folder may be another program's
	Used    bool // it has the files of an earlier shim
}

// nodeBefore is the state of the node before the first Apply, as far as it is not in files.
type nodeBefore struct {
	Units  map[string]unitBefore
	States []stateBefore
	Extras bool // the folder of the files that the configuration names existed
}

// stateFiles are the files in the shim's state directory.
var stateFiles = []string{"admin.sock", "ledger.json", "pulls.json"}

func (s *Service) nodeFile() string { return filepath.Join(s.originals.folder, "node") }

// rememberNode records the state of the node and of the state directory, unless it is recorded
// already. lost is set if the record of an earlier agent was lost, which has installed
// everything.
func (s *Service) rememberNode(ctx context.Context, stateDirectory string, lost bool) error {
	before, known, err := s.nodeBefore()
	if err != nil {
		return err
	}
	if !known {
		before.Units = map[string]unitBefore{}
		before.Extras = exists(s.path(extrasFolder)) && !lost
		for _, name := range []string{serviceUnit, socketUnit} {
			unit, err := s.manager.Unit(ctx, name)
			if err != nil {
				return err
			}
			before.Units[name] = unitBefore{unit.IsEnabled() && !lost, unit.IsActive() && !lost}
		}
	}
	for _, path := range []string{shimState, stateDirectory} { // the units always create the first
		if !slices.ContainsFunc(before.States, func(state stateBefore) bool { return state.Path == path }) {
			isUsed := func(name string) bool { return exists(s.path(filepath.Join(path, name))) }
			before.States = append(before.States, stateBefore{path, exists(s.path(path)) && !lost, slices.ContainsFunc(stateFiles, isUsed) && !lost})
		}
	}
	return s.writeNode(before)
}

func (s *Service) writeNode(before nodeBefore) error {
	content, err := json.Marshal(before)
	if err != nil {
		return err
	}
	if err := makeFolder(s.originals.folder); err != nil {
		return fmt.Errorf("record the state of the node: %w", err)
	}
	_, err = host.WriteFile(s.nodeFile(), content, 0o600)
	return err
}

// lostNode stands for a record that was lost: there was no other shim.
func lostNode() nodeBefore { return nodeBefore{States: []stateBefore{{Path: shimState}}} }

// nodeBefore returns the record of the node. It replaces one that can't be parsed.
func (s *Service) nodeBefore() (before nodeBefore, known bool, err error) {
	content, err := os.ReadFile(s.nodeFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nodeBefore{}, false, nil
	}
	if err != nil {
		return nodeBefore{}, false, fmt.Errorf("read the recorded state of the node: %w", err)
	}
	if err := json.Unmarshal(content, &before); err != nil {
		warnOfLoss(s.log, s.nodeFile(), err)
		before = lostNode()
		return before, true, s.writeNode(before)
	}
	return before, true, nil
}

// remove removes the shim's files from a state directory, unless an earlier shim used it.
func (b stateBefore) remove(path string) error {
	if b.Used {
		return nil
	}
	if b.Path == shimState && !b.Existed {
		return os.RemoveAll(path)
	}
	for _, name := range stateFiles { // the folder may have files of other programs
		if err := host.Remove(filepath.Join(path, name)); err != nil {
			return err
		}
	}
	if !b.Existed {
		removeIfEmpty(path)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
