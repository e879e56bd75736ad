package pointing

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"image-cri-shim/agent/host"
)

// recordFile lists the sockets of the shim at which the agent has pointed clients, one a line.
// It is written before the files of the clients and deleted when kubelet works without the
// shim. After a change of the socket, it distinguishes the former one from that of another program.
const recordFile = host.StateFolder + "/sockets"

// sockets returns the recorded sockets.
func (p *Pointing) sockets() ([]string, error) {
	content, err := os.ReadFile(p.path(recordFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the recorded sockets: %w", err)
	}
	return strings.Fields(string(content)), nil
}

// record replaces the recorded sockets.
func (p *Pointing) record(sockets ...string) error {
	file := p.path(recordFile)
	err := os.MkdirAll(filepath.Dir(file), 0o700)
	if err == nil {
		_, err = host.WriteFile(file, []byte(strings.Join(sockets, "\n")+"\n"), 0o600)
	}
	if err != nil {
		return fmt.Errorf("record the shim's socket: %w", err)
	}
	return nil
}

// recordAlso adds a socket to the recorded ones.
func (p *Pointing) recordAlso(socket string) error {
	sockets, err := p.sockets()
	if err != nil || slices.Contains(sockets, socket) {
		return err
	}
	return p.record(append(sockets, socket)...)
}

// deleteRecord deletes the record.
func (p *Pointing) deleteRecord() error {
	if err := host.Remove(p.path(recordFile)); err != nil {
		return fmt.Errorf("delete the recorded sockets: %w", err)
	}
	return nil
}
