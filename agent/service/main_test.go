package service

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(nodeRoot) != "" {
		fmt.Fprintln(os.Stderr, runShim(os.Getenv(nodeRoot), flag.Args()))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if built.folder != "" {
			_ = os.RemoveAll(built.folder)
		}
		os.Exit(code)
	}))
}

// built has the shims that the tests have built, by version.
var built struct {
	sync.Mutex
	folder string
}

// buildShim returns the path of a shim that reports a version. It is built once.
func buildShim(t *testing.T, version string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.folder == "" {
		folder, err := os.MkdirTemp("", "agent-service-")
		if err != nil {
			t.Fatal(err)
		}
		built.folder = folder
	}
	path := filepath.Join(built.folder, version)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-X image-cri-shim/version.Version="+version, "-o", path, ".")
	build.Dir = filepath.Join("..", "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the shim: %v\n%s", err, output)
	}
	return path
}

// inventory lists the files of a node that the shim and its agent may change.
func inventory(t *testing.T, root string) string {
	t.Helper()
	var list strings.Builder
	for _, folder := range []string{"etc", "opt", "usr", "var/lib"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry os.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil
			}
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			line := fmt.Sprintf("%v %s", info.Mode(), strings.TrimPrefix(path, root))
			if info.Mode().IsRegular() {
				found, err := read(path)
				if err != nil {
					return err
				}
				line += fmt.Sprintf(" %d:%d %s", found.Owner.UID, found.Owner.GID, hashOf(found.Content)[:12])
			}
			fmt.Fprintln(&list, line)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return list.String()
}
