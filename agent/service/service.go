// Package service installs the shim as a service of the node's systemd.
package service

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"

	"image-cri-shim/agent/systemd"
	"image-cri-shim/config"
)

var errTODO = errors.New("not implemented")

// ConfigKey is the key of the configuration in [Files].
const ConfigKey = "image-cri-shim.yaml"

// Files is the content of the node's files by the key of the Secret. [ConfigKey] is the
// configuration. Every other key K is the file /etc/image-cri-shim/K.
type Files map[string][]byte

// Validate returns an error that names a key that can't be a file name, or a missing configuration.
func (f Files) Validate() error { return errTODO }

// Hash returns a hash of the keys and their content.
func (f Files) Hash() string { return "" }

// Release is the version of the shim that the node shall run.
type Release struct {
	Version string
	Binary  string // readable after host.Enter, such as /proc/self/fd/3
}

// RegistryResult is the result of one look-up in a registry.
type RegistryResult struct {
	Address   string
	Reachable bool
	Err       error // nil if the registry is reachable
}

// Service is the shim on this node.
type Service struct {
	manager *systemd.Manager
	release Release
	log     logrus.FieldLogger
}

// New returns the service. Its methods are not safe for concurrent use.
func New(m *systemd.Manager, release Release, log logrus.FieldLogger) *Service {
	return &Service{manager: m, release: release, log: log}
}

// Packaged reports whether a deb or rpm package owns the shim's binary and units.
func (s *Service) Packaged() bool { return false }

// Binary returns the path of the shim's binary of this release: that of its version folder, or
// that of the package.
func (s *Service) Binary() string { return "" }

// InstallBinary installs the binary of the release, unless the shim is packaged.
func (s *Service) InstallBinary(ctx context.Context) error { return errTODO }

// Check checks the files with the binary of the release.
func (s *Service) Check(ctx context.Context, files Files) (*config.Config, error) {
	return nil, errTODO
}

// LookUp connects to each registry of the configuration once.
func (s *Service) LookUp(ctx context.Context, settings *config.Config) ([]RegistryResult, error) {
	return nil, errTODO
}

// Apply brings files and units up to date, and reports whether the shim was restarted.
func (s *Service) Apply(ctx context.Context, files Files) (restarted bool, err error) {
	return false, errTODO
}

// Probe compares the answers of the shim's socket with those of the runtime.
func (s *Service) Probe(ctx context.Context) error { return errTODO }

// Drift returns the differences between the node and the files and release, as text.
func (s *Service) Drift(ctx context.Context, files Files) ([]string, error) { return nil, errTODO }

// Remove stops the shim, deletes its files and restores the files that were there before.
func (s *Service) Remove(ctx context.Context) error { return errTODO }
