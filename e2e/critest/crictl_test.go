package critest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"image-cri-shim/e2e/testbed"
)

// step is a crictl command. Words such as $pod are replaced by the IDs that earlier steps have
// printed.
type step struct {
	command string
	capture string // the word for the ID that the command prints
	fails   bool   // the command must fail
	byRoute bool   // the text of its error depends on the registry that was asked
	sorted  bool   // its lines are sorted, because it removes several things concurrently
}

// steps are the commands of TestCrictl, in order. DIGEST is replaced by the digest of the image
// that is pulled by digest. The two originals of pause are pulled in reverse alphabetical
// order, because containerd's lists are in alphabetical order.
var steps = []step{
	{command: "images"},
	{command: "pull busybox:1.36", capture: "$image"},
	{command: "pull registry.k8s.io/e2e-test-images/busybox:1.29-2"},
	{command: "pull gcr.io/k8s-staging-cri-tools/test-image-digest@DIGEST"},
	{command: "pull gcr.io/k8s-staging-cri-tools/test-image-tags:1"},
	{command: "pull gcr.io/k8s-staging-cri-tools/test-image-tags:2"},
	{command: "pull registry.k8s.io/pause:3.9"},
	{command: "pull k8s.gcr.io/pause:3.9"},
	{command: "pull registry.k8s.io/absent:1", fails: true, byRoute: true},

	{command: "images"},
	{command: "images --digests"},
	{command: "images --verbose"},
	{command: "images --quiet"},
	{command: "images --output json"},
	{command: "images busybox:1.36"},
	{command: "images --filter reference=e2e-test-images"},

	{command: "inspecti busybox:1.36"},
	{command: "inspecti docker.io/library/busybox:1.36"},
	{command: "inspecti $image"},
	{command: "inspecti --output table registry.k8s.io/e2e-test-images/busybox:1.29-2"},
	{command: "inspecti gcr.io/k8s-staging-cri-tools/test-image-digest@DIGEST"},
	{command: "inspecti gcr.io/k8s-staging-cri-tools/test-image-tags:2"},
	{command: "inspecti k8s.gcr.io/pause:3.9"},
	{command: "inspecti registry.k8s.io/absent:1", fails: true},

	{command: "runp pod.json", capture: "$pod"},
	{command: "create $pod short.json pod.json", capture: "$short"},
	{command: "start $short"},
	{command: "create --with-pull $pod full.json pod.json", capture: "$full"},
	{command: "create $pod unpulled.json pod.json", fails: true},
	{command: "run --no-pull unpulled.json another.json", fails: true},
	{command: "run --with-pull unpulled.json third.json", capture: "$run"},
	{command: "pods --quiet --name another", capture: "$another"},
	{command: "pods --quiet --name third", capture: "$third"},
	{command: "ps --all"},
	{command: "ps --all --resolve-image-path"},
	{command: "ps --all --quiet --image busybox:1.36"},
	{command: "ps --all --quiet --image $image"},
	{command: "ps --all --quiet --image registry.k8s.io/e2e-test-images/busybox:1.29-2"},
	{command: "ps --all --quiet --image test-image-1"},
	{command: "ps --all --quiet --image registry.k8s.io/absent:1"},
	{command: "inspect --output go-template --template " + imageOfContainer + " $short"},
	{command: "inspect --output go-template --template " + imageOfContainer + " $full"},
	{command: "inspect --output go-template --template " + imageOfContainer + " $run"},

	{command: "rmi gcr.io/k8s-staging-cri-tools/test-image-tags:1"},
	{command: "rmi gcr.io/k8s-staging-cri-tools/test-image-tags:2", fails: true},
	{command: "rmi registry.k8s.io/absent:1", fails: true},
	{command: "images"},
	{command: "rmi --prune", sorted: true},
	{command: "images"},
	{command: "inspecti registry.k8s.io/pause:3.9", fails: true},
	{command: "ps --all --resolve-image-path"},
	{command: "rmp --force --all", sorted: true},
	{command: "rmi --all", sorted: true},
	{command: "images"},
}

// imageOfContainer is a template for the image fields of a container's status. It has no quotes
// or spaces, at which the command would be split.
const imageOfContainer = "{{.status.image.image}}|{{.status.image.userSpecifiedImage}}|{{.status.imageRef}}|{{.status.imageId}}"

// TestCrictl runs the same crictl commands directly and through a shim that has all images
// under other names, and compares their output.
func TestCrictl(t *testing.T) {
	built := build(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	registry, err := startRegistry(ctx, built.Stub)
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Stop()
	want := observe(ctx, t, registry, built, direct)
	got := observe(ctx, t, registry, built, renamed)
	for i, step := range steps {
		if want[i].failed != step.fails {
			t.Errorf("crictl %s, directly:\n%s", step.command, want[i])
		}
		if step.byRoute {
			want[i].printed, got[i].printed = "", ""
		}
		if got[i] != want[i] {
			t.Errorf("crictl %s\nwith the shim:\n%s\nwithout the shim:\n%s", step.command, got[i], want[i])
		}
	}
}

// outcome is the output of a crictl command, without times and new IDs.
type outcome struct {
	printed string
	failed  bool
}

func (o outcome) String() string {
	if o.failed {
		return o.printed + "\n(failed)"
	}
	return o.printed
}

// observe runs all steps on a new node.
func observe(ctx context.Context, t *testing.T, registry *testbed.Registry, built programs, mode mode) []outcome {
	t.Helper()
	node, err := startNode(ctx, registry, nodeOptions{Mode: mode, Shim: built.Shim})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := node.stop(); err != nil {
			t.Error(err)
		}
	}()
	if err := writeConfigurations(node.folder); err != nil {
		t.Fatal(err)
	}
	index, err := digestImage().index()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]string{}
	var outcomes []outcome
	for _, step := range steps {
		command := strings.ReplaceAll(step.command, "DIGEST", digest.String())
		for word, id := range words {
			command = strings.ReplaceAll(command, word, id)
		}
		arguments := []string{"--config", os.DevNull, "--timeout", "60s", "--runtime-endpoint", "unix://" + node.socket(), "--image-endpoint", "unix://" + node.socket()}
		cmd := exec.CommandContext(ctx, built.Crictl, append(arguments, strings.Fields(command)...)...)
		cmd.Dir = node.folder
		printed, err := cmd.CombinedOutput()
		if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
			t.Fatal(err)
		}
		if step.capture != "" {
			if words[step.capture] = lastID(printed); words[step.capture] == "" {
				t.Fatalf("crictl %s (%s) printed no ID:\n%s", step.command, mode, printed)
			}
		}
		lines := normalize(string(printed), words)
		if step.sorted {
			slices.Sort(lines)
		}
		outcomes = append(outcomes, outcome{strings.Join(lines, "\n"), err != nil})
	}
	return outcomes
}

// writeConfigurations writes the configuration files for runp, create and run.
func writeConfigurations(folder string) error {
	write := func(file string, content any) error {
		encoded, err := json.Marshal(content)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(folder, file), encoded, 0o600)
	}
	type object map[string]any
	pod := func(name string) object {
		return object{
			"metadata":      object{"name": name, "namespace": "crictl", "uid": name},
			"log_directory": filepath.Join(folder, "logs"),
			"dns_config":    object{"servers": []string{"127.0.0.1"}},
			"linux":         object{"security_context": object{"namespace_options": object{"network": 2}}}, // the host's
		}
	}
	container := func(name, image string) object {
		return object{
			"metadata": object{"name": name},
			"image":    object{"image": image},
			"command":  []string{"sh", "-c", "trap exit TERM; sleep 3600 & wait"},
			"log_path": name + ".log",
			"linux":    object{},
		}
	}
	return errors.Join(
		write("pod.json", pod("pod")), write("another.json", pod("another")), write("third.json", pod("third")),
		write("short.json", container("short", "busybox:1.36")),
		write("full.json", container("full", "registry.k8s.io/e2e-test-images/busybox:1.29-2")),
		write("unpulled.json", container("unpulled", "gcr.io/k8s-staging-cri-tools/test-image-1:latest")))
}

var (
	idPattern = regexp.MustCompile(`[0-9a-f]{64}`)
	// The ages of containers, and the beginnings of lines in crictl's two log formats.
	timePattern = regexp.MustCompile(`(?:Less than a second|About a minute|\d+ (?:second|minute)s?) ago|time="[^"]*"|[EIW]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+`)
	// The ID of a pod or container, without an algorithm.
	newIDPattern = regexp.MustCompile(`(^|[^0-9a-f:])[0-9a-f]{64}`)
)

// lastID returns the last ID in a text, with its algorithm if it is the ID of an image.
func lastID(printed []byte) string {
	found := idPattern.FindAllIndex(printed, -1)
	if len(found) == 0 {
		return ""
	}
	last := found[len(found)-1]
	id := string(printed[last[0]:last[1]])
	if bytes.HasSuffix(printed[:last[0]], []byte("sha256:")) {
		return "sha256:" + id
	}
	return id
}

// normalize returns the lines of a text without the expected differences between two nodes. It
// replaces times and the IDs of pods and containers, by the words for them if they have
// one, and removes the padding of columns.
func normalize(printed string, words map[string]string) []string {
	for word, id := range words {
		if !strings.HasPrefix(id, "sha256:") {
			printed = strings.ReplaceAll(strings.ReplaceAll(printed, id, word), id[:13], word)
		}
	}
	printed = newIDPattern.ReplaceAllString(timePattern.ReplaceAllString(printed, "TIME"), "${1}ID")
	var lines []string
	for line := range strings.Lines(printed) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}
