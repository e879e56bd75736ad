package service

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"image-cri-shim/agent/host"
	"image-cri-shim/config"
)

// stagingFolder has copies of the files of a configuration that is not in force yet.
const stagingFolder = host.StateFolder + "/check"

// extraPath matches a path of a file in extrasFolder, and the character before it.
var extraPath = regexp.MustCompile(`(?m)(^|[\s"'])/+etc/+image-cri-shim/+[-._a-zA-Z0-9]+`)

// stage copies the files other than the configuration to the staging folder, which only root
// can access.
func (s *Service) stage(files Files) error {
	if err := s.unstage(); err != nil {
		return err
	}
	if err := os.MkdirAll(s.path(stagingFolder), 0o700); err != nil {
		return fmt.Errorf("copy the files for the check: %w", err)
	}
	for _, extra := range files.extras() {
		if _, err := host.WriteFile(s.path(filepath.Join(stagingFolder, filepath.Base(extra.path))), extra.content, extra.mode); err != nil {
			return fmt.Errorf("copy the files for the check: %w", err)
		}
	}
	return nil
}

func (s *Service) unstage() error {
	if err := os.RemoveAll(s.path(stagingFolder)); err != nil {
		return fmt.Errorf("delete the copies of the check: %w", err)
	}
	return nil
}

// staged returns the path of the copy of a file, or path itself if the file has no copy.
func (s *Service) staged(path string) string {
	if filepath.Dir(path) != extrasFolder {
		return path
	}
	staged := s.path(filepath.Join(stagingFolder, filepath.Base(path)))
	if !exists(staged) {
		return path
	}
	return staged
}

// withStagedPaths returns the configuration with the paths of the copies.
func (s *Service) withStagedPaths(files Files) []byte {
	return extraPath.ReplaceAllFunc(files[ConfigKey], func(match []byte) []byte {
		start := bytes.IndexByte(match, '/')
		path := filepath.Clean(string(match[start:]))
		return append(match[:start:start], s.staged(path)...)
	})
}

// withFinalPaths returns a text with the paths of the files in the place of their copies.
func (s *Service) withFinalPaths(text string) string {
	return strings.ReplaceAll(text, s.path(stagingFolder), extrasFolder)
}

// finalError returns an error with a text about the files in the place of their copies.
func (s *Service) finalError(err error) error {
	if err == nil || !strings.Contains(err.Error(), s.path(stagingFolder)) {
		return err
	}
	return errors.New(s.withFinalPaths(err.Error()))
}

// stagedSettings returns settings in which the registries use the copies.
func (s *Service) stagedSettings(settings *config.Config) *config.Config {
	staged := *settings
	staged.Registries = slices.Clone(settings.Registries)
	for i := range staged.Registries {
		r := &staged.Registries[i]
		r.CA, r.AuthFile = s.staged(r.CA), s.staged(r.AuthFile)
	}
	return &staged
}
