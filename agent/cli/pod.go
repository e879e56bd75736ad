package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"image-cri-shim/agent/service"
)

const (
	terminationLog      = "/dev/termination-log" // kubelet copies its content into the pod's status
	terminationLogLimit = 4096                   // of kubelet
	filesLimit          = 4 << 20                // of all files of the configuration; a Secret has at most 1 MiB
)

// openTerminationLog opens the file for the reason of the agent's end. It returns a writer
// without effect outside of a pod.
func openTerminationLog() io.WriteCloser {
	file, err := os.OpenFile(terminationLog, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return discard{io.Discard}
	}
	return file
}

type discard struct{ io.Writer }

func (discard) Close() error { return nil }

// writeReason writes the reason of the agent's end.
func writeReason(w io.Writer, reason error) error {
	text := reason.Error()
	if len(text) > terminationLogLimit {
		text = strings.ToValidUTF8(text[:terminationLogLimit], "")
	}
	_, err := io.WriteString(w, text)
	return err
}

// readFiles reads the files of a folder with the configuration, which is a volume of the pod.
// The names of kubelet's own entries in it begin with two dots.
func readFiles(folder string) (service.Files, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w; does the pod mount it?", err)
	}
	files, size := make(service.Files), 0
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "..") {
			continue
		}
		content, err := readFile(filepath.Join(folder, entry.Name()), filesLimit-size)
		if err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		size += len(content)
		files[entry.Name()] = content
	}
	return files, nil
}

// readFile reads a regular file of at most limit bytes.
func readFile(path string, limit int) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	var content bytes.Buffer
	if _, err := io.Copy(&content, io.LimitReader(file, int64(limit)+1)); err != nil {
		return nil, err
	}
	if content.Len() > limit {
		return nil, fmt.Errorf("%s: the files have more than %d bytes", path, filesLimit)
	}
	return content.Bytes(), nil
}

// descriptorPath returns a path of an open file or folder that stays valid when the process
// leaves the root folder of the pod. The node has /proc in the same place.
func descriptorPath(file *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", file.Fd()) }
