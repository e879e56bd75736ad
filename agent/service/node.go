package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"image-cri-shim/agent/host"
)

// unitBefore is the state of a unit before the first Apply.
type unitBefore struct{ Enabled, Active bool }

// nodeBefore is the state of the node before the first Apply, as far as it is not in files.
type nodeBefore struct {
	Units map[string]unitBefore
	State bool // the shim's state directory existed
}

func (s *Service) nodeFile() string { return filepath.Join(s.originals.folder, "node") }

// rememberNode records the state of the node, unless it is recorded already. lost is set if
// the record of an earlier agent was lost, which has installed everything.
func (s *Service) rememberNode(ctx context.Context, lost bool) error {
	_, known, err := s.nodeBefore()
	if err != nil || known {
		return err
	}
	before := nodeBefore{Units: map[string]unitBefore{}}
	if !lost {
		for _, name := range []string{serviceUnit, socketUnit} {
			unit, err := s.manager.Unit(ctx, name)
			if err != nil {
				return err
			}
			before.Units[name] = unitBefore{unit.IsEnabled(), unit.IsActive()}
		}
		before.State = exists(s.path(shimState))
	}
	content, err := json.Marshal(before)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.originals.folder, 0o700); err != nil {
		return fmt.Errorf("record the state of the node: %w", err)
	}
	_, err = host.WriteFile(s.nodeFile(), content, 0o600)
	return err
}

func (s *Service) nodeBefore() (before nodeBefore, known bool, err error) {
	content, err := os.ReadFile(s.nodeFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nodeBefore{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal(content, &before)
	}
	if err != nil {
		return nodeBefore{}, false, fmt.Errorf("read the recorded state of the node: %w", err)
	}
	return before, true, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
