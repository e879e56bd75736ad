package main

import (
	"os/exec"
	"testing"
)

// TestPlatforms requires that the program and the packages that it imports have sources for the
// systems of administrators.
func TestPlatforms(t *testing.T) {
	for _, platform := range []string{"linux", "darwin", "windows"} {
		command := exec.CommandContext(t.Context(), "go", "list", "-deps", ".")
		command.Env = append(command.Environ(), "GOOS="+platform, "CGO_ENABLED=0")
		if output, err := command.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", platform, err, output)
		}
	}
}
