package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// shims are the configurations of the shim that are measured, the default first.
var shims = []struct {
	name, configuration string
	names               bool // see [contender]
}{
	{name: "shim, frames", configuration: "engine: frames\n", names: true},
	{name: "shim, ledger", configuration: "engine: frames\nnames: ledger\n"},
	{name: "shim, grpc", configuration: "engine: grpc\n", names: true},
}

// contenders returns all contenders, the direct way first and the relay second. It builds
// the shim into folder.
func contenders(ctx context.Context, folder, registry string) ([]*contender, error) {
	itself, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ours := func(role string) *contender {
		command := func(i *instance) ([]string, error) {
			return []string{itself, "contender", role, i.socket, i.runtime}, nil
		}
		return &contender{name: role, command: command, instrumented: command}
	}
	all := []*contender{{name: "direct"}, ours("relay")}
	shim, instrumented, err := buildShim(ctx, folder)
	if err != nil {
		return nil, err
	}
	for _, of := range shims {
		c := &contender{name: of.name, binary: shim, restores: true, names: of.names}
		c.command, c.instrumented = shimCommand(shim, registry, of.configuration), shimCommand(instrumented, registry, of.configuration)
		all = append(all, c)
	}
	all = append(all, ours("grpc-proxy"))
	for _, c := range []*contender{{name: "haproxy", command: haproxy}, {name: "nginx", command: nginx}} {
		path, err := lookPath(c.name)
		if err != nil {
			c.missing = "not installed"
		}
		c.binary = path
		all = append(all, c)
	}
	return all, nil
}

// shimCommand returns a command function for the shim with a registry; more are further
// lines of its configuration.
func shimCommand(binary, registry, more string) func(*instance) ([]string, error) {
	return func(i *instance) ([]string, error) {
		file := filepath.Join(i.folder, "image-cri-shim.yaml")
		configuration := fmt.Sprintf("shim: %s\ncri: %s\nimage: %s\naddress: http://%s\n%s",
			i.socket, i.runtime, filepath.Join(i.folder, "state"), registry, more)
		return []string{binary, "--file", file}, os.WriteFile(file, []byte(configuration), 0o600)
	}
}

// buildShim builds the shim twice: as the Makefile does, and with the package allocations.
// An overlay adds the package and its import to the sources of the second build, because
// the shim itself has no code that reports allocations.
func buildShim(ctx context.Context, folder string) (plain, instrumented string, err error) {
	here, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "image-cri-shim").Output()
	if err != nil {
		return "", "", fmt.Errorf("find the shim's source: %w", err)
	}
	source := strings.TrimSpace(string(here))
	imported := filepath.Join(folder, "allocations.go")
	if err := os.WriteFile(imported, []byte("package main\n\nimport _ \"image-cri-shim/allocations\"\n"), 0o600); err != nil {
		return "", "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(source, "allocations.go"):                imported,
		filepath.Join(source, "allocations", "allocations.go"): filepath.Join(source, "bench", "allocations", "allocations.go"),
	}})
	if err != nil {
		return "", "", err
	}
	file := filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return "", "", err
	}
	build := func(name string, flags ...string) (string, error) {
		binary := filepath.Join(folder, name)
		arguments := append([]string{"build", "-C", source, "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", binary}, flags...)
		cmd := exec.CommandContext(ctx, "go", append(arguments, ".")...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build the shim: %w\n%s", err, output)
		}
		return binary, nil
	}
	if plain, err = build("image-cri-shim"); err != nil {
		return "", "", err
	}
	instrumented, err = build("image-cri-shim-instrumented", "-overlay", file)
	return plain, instrumented, err
}
