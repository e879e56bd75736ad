package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// buildAgentImage runs `make image` of a source tree for this architecture, with additional
// variables. It returns the tar and the printed text.
func buildAgentImage(tree, folder, umask string, variables ...string) (file, printed string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute) // includes compilation of client-go
	defer cancel()
	command := exec.CommandContext(ctx, "bash", "-c", "umask "+umask+`; exec make --no-print-directory image "$@"`, "bash",
		"VERSION=v1.0.0", "COMMIT=0123456789", "DATE=2026-01-02T03:04:05+00:00", "ARCHITECTURES="+goruntime.GOARCH, "DIST="+folder)
	command.Args = append(command.Args, variables...)
	command.Dir = tree
	output, err := command.CombinedOutput()
	if err != nil {
		return "", string(output), fmt.Errorf("build the agent's image: %w\n%s", err, output)
	}
	return filepath.Join(folder, "image-cri-shim-agent_v1.0.0_oci.tar"), string(output), nil
}

// agentImage is the tar of the image that the tests share.
var agentImage = sync.OnceValues(func() (string, error) {
	file, _, err := buildAgentImage("..", filepath.Join(shared.folder, "image"), "022")
	return file, err
})

func needAgentImage(t *testing.T) (file string) {
	t.Helper()
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("make is not installed")
	}
	file, err := agentImage()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestPackageOfAgentImage builds the image again in another folder, from files with other times
// and modes, and requires the same bytes.
func TestPackageOfAgentImage(t *testing.T) {
	one, err := os.ReadFile(needAgentImage(t))
	if err != nil {
		t.Fatal(err)
	}
	tree := t.TempDir()
	copyTree(t, "..", tree)
	file, _, err := buildAgentImage(tree, t.TempDir(), "077")
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, other) {
		t.Error("the image differs when built again")
	}
}

// TestImportedAgentImage imports the tar into containerd, as on a node without a registry, and
// runs both programs of the image.
func TestImportedAgentImage(t *testing.T) {
	file := needAgentImage(t)
	if _, err := exec.LookPath("ctr"); err != nil {
		t.Skip("ctr is not installed")
	}
	n := newNode(t, needContainerd(t), privateConfiguration())
	importing := exec.CommandContext(testContext(t), "ctr", "--address", n.runtime.Socket(), "--namespace", "k8s.io",
		"images", "import", "--no-unpack", file) // the default snapshotter may not work here
	if output, err := importing.CombinedOutput(); err != nil {
		t.Fatalf("import: %v\n%s", err, output)
	}
	const image = "docker.io/library/image-cri-shim-agent:v1.0.0"
	eventually(t, func() string {
		if n.status(t, n.direct, image) == nil {
			return "containerd does not list " + image
		}
		return ""
	})
	pod := n.startPod(t)
	if output := n.runToEnd(t, pod, "shim", image, []string{"/image-cri-shim"}, "version"); !strings.Contains(output, "image-cri-shim v1.0.0 (commit 0123456789, 2026-01-02T03:04:05+00:00)") {
		t.Errorf("the shim in the image prints %q", output)
	}
	if output := n.runToEnd(t, pod, "agent", image, nil, "--version"); output != "image-cri-shim-agent version v1.0.0\n" {
		t.Errorf("the agent in the image prints %q", output)
	}
}

// runToEnd runs a container until it ends with the exit code 0, and returns its output. Without
// a command, it runs the image's entrypoint.
func (n *node) runToEnd(t *testing.T, pod *testbed.Pod, name, image string, command []string, arguments ...string) string {
	t.Helper()
	request := pod.CreateRequest(name, image, command...)
	request.Config.Args = arguments
	container, err := n.through.Runtime.CreateContainer(testContext(t), request.PodSandboxId, request.Config, request.SandboxConfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.through.Runtime.StartContainer(testContext(t), container); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		response, err := n.through.Runtime.ContainerStatus(testContext(t), container, false)
		if err != nil {
			return err.Error()
		}
		if state := response.GetStatus(); state.GetState() != runtimeapi.ContainerState_CONTAINER_EXITED || state.GetExitCode() != 0 {
			return fmt.Sprintf("%s is %s with the exit code %d", name, state.GetState(), state.GetExitCode())
		}
		return ""
	})
	output, err := pod.Log(name)
	if err != nil {
		t.Fatal(err)
	}
	return output
}

// TestPushedAgentImage pushes the image with the password of Docker's configuration, and pulls
// it through the shim from that registry.
func TestPushedAgentImage(t *testing.T) {
	needAgentImage(t)
	target := shared.private.Host() + "/library/image-cri-shim-agent"
	n := newNode(t, needContainerd(t), privateConfiguration())
	logInWithDocker(t, wrongPassword)
	_, printed, err := buildAgentImage("..", t.TempDir(), "022", "PUSH="+target)
	if err == nil || !strings.Contains(printed, "the registry refuses the credentials for "+shared.private.Host()) {
		t.Errorf("with a wrong password: %v\n%s", err, printed)
	}
	wantNoSecret(t, "the output of a refused push", []byte(printed))

	logInWithDocker(t, privatePassword)
	_, printed, err = buildAgentImage("..", t.TempDir(), "022", "PUSH="+target)
	if err != nil {
		t.Fatal(err)
	}
	wantNoSecret(t, "the output of a push", []byte(printed))
	_, digest, _ := strings.Cut(printed, "digest: ")
	digest, _, _ = strings.Cut(digest, "\n")
	if want := "pushed: " + target + ":v1.0.0@" + digest + "\n"; !strings.Contains(printed, want) || digest == "" {
		t.Errorf("the output does not contain %q:\n%s", want, printed)
	}
	n.pull(t, n.through, "image-cri-shim-agent:v1.0.0", nil)
	if output := n.runToEnd(t, n.startPod(t), "shim", "image-cri-shim-agent@"+digest, []string{"/image-cri-shim"}, "version"); !strings.Contains(output, "v1.0.0") {
		t.Errorf("the pulled shim prints %q", output)
	}
}

// logInWithDocker writes Docker's configuration with a password for the private registry.
func logInWithDocker(t *testing.T, password string) {
	t.Helper()
	login := map[string]string{"username": privateUser, "password": password}
	content, err := json.Marshal(map[string]any{"auths": map[string]any{shared.private.Host(): login}})
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "config.json"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", folder)
}
