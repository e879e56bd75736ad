package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// TestReadFiles reads a folder as kubelet mounts it.
func TestReadFiles(t *testing.T) {
	folder := t.TempDir()
	data := filepath.Join(folder, "..2026_01_01")
	if err := errors.Join(os.Mkdir(data, 0o755), os.Symlink("..2026_01_01", filepath.Join(folder, "..data")),
		os.WriteFile(filepath.Join(data, "image-cri-shim.yaml"), []byte("a"), 0o600), os.WriteFile(filepath.Join(data, "ca.pem"), nil, 0o600),
		os.Symlink("..data/image-cri-shim.yaml", filepath.Join(folder, "image-cri-shim.yaml")), os.Symlink("..data/ca.pem", filepath.Join(folder, "ca.pem"))); err != nil {
		t.Fatal(err)
	}
	files, err := readFiles(folder)
	if err != nil || len(files) != 2 || string(files["image-cri-shim.yaml"]) != "a" || len(files["ca.pem"]) > 0 {
		t.Errorf("files %q, %v", files, err)
	}
	large := filepath.Join(folder, "large")
	if err := os.WriteFile(large, make([]byte, filesLimit), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readFiles(folder); err == nil || !strings.Contains(err.Error(), large+": the files have more than ") {
		t.Errorf("large file: %v", err)
	}
	if err := errors.Join(os.Remove(large), os.Mkdir(large, 0o755)); err != nil {
		t.Fatal(err)
	}
	if _, err := readFiles(folder); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("folder in the folder: %v", err)
	}
}

// TestDescriptorPath requires that an open folder can be read after a rename, as after leaving
// the pod's root.
func TestDescriptorPath(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "account")
	if err := errors.Join(os.Mkdir(folder, 0o755), os.WriteFile(filepath.Join(folder, "token"), []byte("t"), 0o600)); err != nil {
		t.Fatal(err)
	}
	open, err := os.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }()
	if err := os.Rename(folder, folder+"-elsewhere"); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(filepath.Join(descriptorPath(open), "token")); err != nil || string(content) != "t" {
		t.Errorf("token %q, %v", content, err)
	}
}

// TestReason requires that a long reason fits into the pod's status.
func TestReason(t *testing.T) {
	var written bytes.Buffer
	if err := writeReason(&written, errors.New(strings.Repeat("ü", terminationLogLimit))); err != nil || written.Len() > terminationLogLimit {
		t.Errorf("%d bytes, %v", written.Len(), err)
	}
}

// TestLock requires that the second agent waits, and names the process of the first.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var text bytes.Buffer
	log := logrus.New()
	log.SetOutput(&text)
	release, err := lock(t.Context(), path, log)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(1500*time.Millisecond, release)
	second, err := lock(t.Context(), path, log)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("process %d holds it", os.Getpid()); !strings.Contains(text.String(), want) {
		t.Errorf("the log is\n%swant %q", text.String(), want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, path, log); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("lock after a signal: %v", err)
	}
	second()
	if _, err := lock(t.Context(), filepath.Join(path, "x"), log); err == nil {
		t.Error("no error for a path that can't be opened")
	}
}
