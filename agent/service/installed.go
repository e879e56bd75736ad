package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"image-cri-shim/agent/host"
)

// Installed reports whether the agent has installed the shim, or a part of it: its unit, link or
// records exist. A shim that was installed in another way is not the agent's, also below
// [VersionsFolder].
func (s *Service) Installed() bool {
	entries, err := os.ReadDir(s.originals.folder)
	return s.isOwn() || s.linked(currentLink) != "" || err == nil && len(entries) > 0
}

// linked returns the version that a link leads to, or "".
func (s *Service) linked(link string) string {
	version, err := os.Readlink(s.path(link))
	if err != nil || !validVersion.MatchString(version) {
		return ""
	}
	return version
}

// versionRecords is the folder with an empty file for each version that the agent has installed.
func (s *Service) versionRecords() string { return filepath.Join(s.originals.folder, "versions") }

// recordVersions records versions as the agent's, and also those of an agent that has lost its
// records.
func (s *Service) recordVersions(versions ...string) error {
	if s.isOwn() {
		versions = append(versions, s.linked(currentLink), s.linked(previousLink))
	}
	for _, version := range versions {
		if version == "" {
			continue
		}
		if err := makeFolder(s.versionRecords()); err != nil {
			return fmt.Errorf("record the version: %w", err)
		}
		if _, err := host.WriteFile(filepath.Join(s.versionRecords(), version), nil, 0o600); err != nil {
			return fmt.Errorf("record the version: %w", err)
		}
	}
	return nil
}

// ownVersions returns the versions that the agent has installed.
func (s *Service) ownVersions() (versions []string, err error) {
	entries, err := os.ReadDir(s.versionRecords())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the recorded versions: %w", err)
	}
	for _, entry := range entries {
		if validVersion.MatchString(entry.Name()) {
			versions = append(versions, entry.Name())
		}
	}
	if len(versions) == 0 { // the records were lost
		for _, link := range []string{currentLink, previousLink} {
			if version := s.linked(link); version != "" {
				versions = append(versions, version)
			}
		}
	}
	return versions, nil
}

// isOwn reports whether the unit files are those of an agent.
func (s *Service) isOwn() bool {
	content, err := os.ReadFile(s.path(filepath.Join(unitFolder, serviceUnit)))
	return err == nil && strings.Contains(string(content), "\nExecStart="+currentLink+"/")
}
