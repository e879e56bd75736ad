package service

import (
	"os"
	"path/filepath"
	"strings"
)

// Installed reports whether the agent has installed the shim, or a part of it: its unit, link or
// records exist. A shim that was installed in another way is not the agent's, also below
// [VersionsFolder].
func (s *Service) Installed() bool {
	link, err := os.Readlink(s.path(currentLink))
	isLinked := err == nil && validVersion.MatchString(link)
	entries, err := os.ReadDir(s.originals.folder)
	return s.isOwn() || isLinked || err == nil && len(entries) > 0
}

// isOwn reports whether the unit files are those of an agent.
func (s *Service) isOwn() bool {
	content, err := os.ReadFile(s.path(filepath.Join(unitFolder, serviceUnit)))
	return err == nil && strings.Contains(string(content), "\nExecStart="+currentLink+"/")
}
