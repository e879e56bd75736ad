// Package service installs the shim as a service of the node's systemd, applies its
// configuration and removes it again.
//
// The order of calls is [Service.InstallBinary], [Service.Check], [Service.LookUp],
// [Service.Apply], [Service.Probe]. Every step compares the node with the desired state and
// changes only the differences. A process that is killed at any point is followed by one that
// starts with the first step.
//
// The package writes these files:
//
//	/opt/image-cri-shim/VERSION/image-cri-shim      the binary
//	/opt/image-cri-shim/current, previous           links to versions
//	/etc/systemd/system/image-cri-shim.{service,socket}
//	/etc/image-cri-shim.yaml, /etc/image-cri-shim/  the configuration
//	/var/lib/image-cri-shim-agent/original/         what was there before, for Remove
//	/var/lib/image-cri-shim-agent/former/           what was there before an unfinished Apply
//	/var/lib/image-cri-shim-agent/check/            copies of files for Check and LookUp
//
// If a deb or rpm package owns the shim, its binary and units stay as they are. A drop-in
// is written only if the configuration needs another socket or state directory than they have.
package service

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"image-cri-shim/agent/host"
	"image-cri-shim/agent/systemd"
	"image-cri-shim/config"
)

// VersionsFolder is the folder on the node with a folder for each installed version of the shim.
const VersionsFolder = "/opt/image-cri-shim"

const (
	serviceUnit = "image-cri-shim.service"
	socketUnit  = "image-cri-shim.socket"

	binaryName   = "image-cri-shim"
	currentLink  = VersionsFolder + "/current"
	previousLink = VersionsFolder + "/previous"
	unitFolder   = "/etc/systemd/system"
	extrasFolder = "/etc/image-cri-shim"
	shimState    = "/var/lib/image-cri-shim"
)

// jobTimeout bounds a job of systemd: the shim drains for up to 40 s, and then waits for the
// runtime.
const jobTimeout = 3 * time.Minute

// manager is the part of [systemd.Manager] that this package uses.
type manager interface {
	Reload(ctx context.Context) error
	Enable(ctx context.Context, units ...string) error
	Disable(ctx context.Context, units ...string) error
	Start(ctx context.Context, unit string) error
	Stop(ctx context.Context, unit string) error
	Restart(ctx context.Context, unit string) error
	ReloadUnit(ctx context.Context, unit string) error
	ResetFailed(ctx context.Context, units ...string) error
	Unit(ctx context.Context, unit string) (systemd.Unit, error)
}

// Release is the version of the shim that the node shall run.
type Release struct {
	Version string
	Binary  string // readable after host.Enter, such as /proc/self/fd/3
}

// Service is the shim on this node. Its methods are not safe for concurrent use.
type Service struct {
	manager          manager
	release          Release
	log              logrus.FieldLogger
	root             string  // of all files: / except in tests
	originals, saved records // saved has the files before an unfinished Apply
}

// New returns the service of this node.
func New(m *systemd.Manager, release Release, log logrus.FieldLogger) *Service {
	return newBelow("/", m, release, log)
}

func newBelow(root string, m manager, release Release, log logrus.FieldLogger) *Service {
	s := &Service{manager: m, release: release, log: log, root: root}
	s.originals = records{s.path(host.StateFolder + "/original"), log}
	s.saved = records{s.path(host.StateFolder + "/former"), log}
	return s
}

// path returns the path of a file of the node for this process.
func (s *Service) path(file string) string { return filepath.Join(s.root, file) }

// packagedUnit returns the path of the package's service unit, or "" without a package.
func (s *Service) packagedUnit() string {
	for _, folder := range []string{"/usr/lib/systemd/system", "/lib/systemd/system"} {
		file := s.path(filepath.Join(folder, serviceUnit))
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return ""
}

// Packaged reports whether a deb or rpm package owns the shim's binary and units.
func (s *Service) Packaged() bool { return s.packagedUnit() != "" }

// Binary returns the path of the shim's binary: that of this release, or that of the package.
func (s *Service) Binary() string {
	unit := s.packagedUnit()
	if unit == "" {
		return filepath.Join(VersionsFolder, s.release.Version, binaryName)
	}
	content, err := os.ReadFile(unit)
	if err != nil {
		return "/usr/bin/" + binaryName
	}
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		if command, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "ExecStart="); ok {
			if words := strings.Fields(strings.TrimLeft(command, "@-:+!")); len(words) > 0 {
				return words[0]
			}
		}
	}
	return "/usr/bin/" + binaryName
}

// CheckNode returns an error if the agent can't install the shim on this node. It changes
// nothing.
func (s *Service) CheckNode() error {
	const image = "make it writable, or install the deb or rpm package in the image of the system"
	folders := []host.Folder{
		{Path: unitFolder, Remedy: "on a system such as NixOS, add the shim's units and kubelet's endpoint to the configuration of the system"},
		{Path: filepath.Dir(config.DefaultFile), Remedy: image},
		{Path: host.StateFolder, Remedy: image},
	}
	if !s.Packaged() {
		folders = append(folders, host.Folder{Path: VersionsFolder, Executable: true, Remedy: "mount a writable file system without noexec at /opt, or install the deb or rpm package in the image of the system"})
	}
	return host.CheckFolders(s.root, folders...)
}

// configFile returns the path of the configuration.
func (s *Service) configFile() string { return s.path(config.DefaultFile) }
