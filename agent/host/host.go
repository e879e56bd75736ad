// Package host works on the files of the node: it enters the node's root, and writes files so
// that a process killed at any point leaves the old or the new content.
package host

import (
	"context"
	"errors"
	"io/fs"
)

var errTODO = errors.New("not implemented")

// Enter makes root, the mounted root folder of the node, the root folder of this process.
func Enter(root string) error { return errTODO }

// MachineID returns the content of /etc/machine-id.
func MachineID() (string, error) { return "", errTODO }

// Lock locks a file with flock(2). It waits until ctx ends.
func Lock(ctx context.Context, path string) (release func(), err error) { return nil, errTODO }

// WriteFile replaces a file atomically, unless it has this content and mode already.
func WriteFile(path string, content []byte, mode fs.FileMode) (changed bool, err error) {
	return false, errTODO
}

// ReplaceSymlink makes path a symbolic link to target, atomically.
func ReplaceSymlink(path, target string) (changed bool, err error) { return false, errTODO }
