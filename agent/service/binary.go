package service

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"image-cri-shim/agent/host"
)

// validVersion matches the versions that can be the name of a folder beside the links.
var validVersion = regexp.MustCompile(`^[a-zA-Z0-9][-+._~a-zA-Z0-9]{0,127}$`)

// InstallBinary installs the binary of the release in the folder of its version. A binary that
// is running is replaced, not written to. It does nothing if a package owns the shim.
func (s *Service) InstallBinary(ctx context.Context) error {
	if s.Packaged() {
		return nil
	}
	same, err := s.hasBinary(ctx)
	if err != nil || same {
		return err
	}
	if err := s.recordVersions(s.release.Version); err != nil {
		return err
	}
	path := s.path(s.Binary())
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("install the shim's binary (/opt must be writable): %w", err)
	}
	source, err := os.Open(s.release.Binary)
	if err != nil {
		return fmt.Errorf("read the shim's binary: %w", err)
	}
	defer func() { _ = source.Close() }() // nothing is written
	if err := host.CopyFile(path, readerOf(ctx, source), 0o755); err != nil {
		return fmt.Errorf("install the shim's binary: %w", err)
	}
	s.log.WithField("file", s.Binary()).Info("installed the shim's binary")
	return nil
}

// hasBinary reports whether the binary of the release is installed.
func (s *Service) hasBinary(ctx context.Context) (bool, error) {
	if version := s.release.Version; !validVersion.MatchString(version) || version == "current" || version == "previous" {
		return false, fmt.Errorf("version %.80q can't be the name of a folder: build the agent with a version such as v1.2.3", version)
	}
	want, err := hashOfFile(ctx, s.release.Binary)
	if err != nil {
		return false, fmt.Errorf("read the shim's binary: %w", err)
	}
	info, err := os.Lstat(s.path(s.Binary()))
	if err != nil || info.Mode() != 0o755 {
		return false, nil // missing, or replaced by InstallBinary
	}
	now, err := hashOfFile(ctx, s.path(s.Binary()))
	if err != nil {
		return false, fmt.Errorf("read the installed binary: %w", err)
	}
	return bytes.Equal(want, now), nil
}

func hashOfFile(ctx context.Context, path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // nothing is written
	hash := sha256.New()
	if _, err := io.Copy(hash, readerOf(ctx, file)); err != nil {
		return nil, err
	}
	return hash.Sum(nil), nil
}

// readerFunc implements [io.Reader].
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// readerOf returns a reader that ends with ctx.
func readerOf(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	})
}

// selectVersion lets the link current lead to the release, and previous to the version before.
func (s *Service) selectVersion() error {
	former, err := os.Readlink(s.path(currentLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the link to the current version: %w", err)
	}
	if former == s.release.Version {
		return nil
	}
	if former != "" {
		if _, err := host.ReplaceSymlink(s.path(previousLink), former); err != nil {
			return err
		}
	}
	_, err = host.ReplaceSymlink(s.path(currentLink), s.release.Version)
	return err
}

// deselectVersion returns to the former version after a failed start of the release. The
// release becomes the previous version and is kept, because the switch of package pointing may
// need its binary.
func (s *Service) deselectVersion(former string) error {
	if former == "" {
		return errors.Join(host.Remove(s.path(currentLink)), host.Remove(s.path(previousLink)))
	}
	if former != s.release.Version {
		if _, err := host.ReplaceSymlink(s.path(previousLink), s.release.Version); err != nil {
			return err
		}
	}
	_, err := host.ReplaceSymlink(s.path(currentLink), former)
	return err
}

// removeVersions removes all versions of the agent except the current and the previous one.
func (s *Service) removeVersions() error {
	versions, err := s.ownVersions()
	if err != nil {
		return err
	}
	previous, _ := os.Readlink(s.path(previousLink)) // missing after the first installation
	for _, version := range versions {
		if version == s.release.Version || version == previous {
			continue
		}
		if err := s.removeVersion(version); err != nil {
			return err
		}
		if err := host.Remove(filepath.Join(s.versionRecords(), version)); err != nil {
			return err
		}
		s.log.WithField("version", version).Info("removed an old version")
	}
	return nil
}

// removeVersion removes the binary of a version. Other files in its folder stay.
func (s *Service) removeVersion(version string) error {
	folder := s.path(filepath.Join(VersionsFolder, version))
	if err := host.Remove(filepath.Join(folder, binaryName)); err != nil {
		return fmt.Errorf("remove a version of the shim: %w", err)
	}
	removeIfEmpty(folder)
	return nil
}

// removeAllVersions removes the binaries of the agent and the links to them.
func (s *Service) removeAllVersions() error {
	versions, err := s.ownVersions()
	if err != nil {
		return err
	}
	for _, link := range []string{previousLink, currentLink} {
		if target, err := os.Readlink(s.path(link)); err == nil && slices.Contains(versions, target) {
			if err := host.Remove(s.path(link)); err != nil {
				return fmt.Errorf("remove the link to a version: %w", err)
			}
		}
	}
	for _, version := range versions {
		if err := s.removeVersion(version); err != nil {
			return err
		}
	}
	removeIfEmpty(s.path(VersionsFolder))
	return nil
}
