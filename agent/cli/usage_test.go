package cli

import (
	"bytes"
	"strings"
	"testing"
)

// run runs the program with arguments that must not contain blanks.
func run(t *testing.T, arguments string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errors bytes.Buffer
	code = Main(t.Context(), append([]string{"image-cri-shim-agent"}, strings.Fields(arguments)...), &out, &errors)
	return out.String(), errors.String(), code
}

// TestUsageErrors requires exit code 64, two lines on standard error and nothing on standard
// output for wrong arguments.
func TestUsageErrors(t *testing.T) {
	for arguments, want := range map[string]string{
		"":                         "name a command\nhint: see image-cri-shim-agent --help",
		"agnet":                    `unknown command "agnet"`,
		"--zzz":                    `unknown flag "--zzz"`,
		"agent --zzz":              `agent: unknown flag "--zzz"` + "\nhint: see image-cri-shim-agent agent --help",
		"agent now":                `agent: unexpected argument "now"`,
		"agent --registries none":  `agent: --registries: found "none", expected was-reachable, all or off`,
		"agent --metrics=":         `agent: --metrics: found "", expected IP:PORT such as 10.0.0.5:9466 or [fd00::5]:9466`,
		"agent --metrics :9466":    `agent: --metrics: found ":9466", expected IP:PORT`,
		"agent --live name":        `agent: --live: found "name", expected secret/NAME or configmap/NAME`,
		"agent --live pod/name":    `agent: --live: found "pod/name"`,
		"agent --live secret/":     `agent: --live: found "secret/"`,
		"agent --live=":            `agent: --live: found ""`,
		"agent --live secret/a/b":  `agent: --live: found "secret/a/b"`,
		"agent --namespace a":      "agent: found --namespace without --live or --from-sealos-configmap",
		"agent --interval 0s":      "agent: --interval: found 0s, expected a positive duration such as 45s",
		"agent --jitter -1s":       "agent: --jitter: found -1s",
		"agent --jitter soon":      `agent: invalid value "soon" for flag -jitter`,
		"remove --zzz":             `remove: unknown flag "--zzz"`,
		"remove now":               `remove: unexpected argument "now"`,
		"status -o xml":            `status: --output: found "xml", expected text or json`,
		"hook":                     "hook: name a command",
		"hook purge":               `hook: unknown command "purge"`,
		"hook prune --namespace a": "hook prune: --daemonset is missing\nhint: see image-cri-shim-agent hook prune --help",
		"hook await-removal":       "hook await-removal: --namespace is missing",
		"hook await-removal x":     `hook await-removal: unexpected argument "x"`,
		"hook prune --timeout 0":   "hook prune: --timeout: found 0s",
		"agent --live secret/a --from-sealos-configmap": "agent: found --live and --from-sealos-configmap, expected one of them",
	} {
		stdout, stderr, code := run(t, arguments)
		if !strings.HasPrefix(stderr, "image-cri-shim-agent: "+want) || strings.Count(stderr, "\n") != 2 || stdout != "" || code != 64 {
			t.Errorf("%s: exit code %d, stdout %q, stderr\n%swant 64 and\n%s", arguments, code, stdout, stderr, want)
		}
	}
}

// TestFailures requires exit code 1 and the next step for what is missing in the pod.
func TestFailures(t *testing.T) {
	for arguments, want := range map[string]string{
		"agent":                                  "open the shim's program: open /image-cri-shim: no such file or directory; name it with --binary",
		"agent --binary /proc/self/exe":          "read the configuration: open /config: no such file or directory; does the pod mount it?",
		"remove":                                 "open the shim's program: ",
		"status --host /nowhere":                 "the agent has not written its status yet: ",
		"hook prune --namespace a --daemonset b": "find the apiserver: KUBERNETES_SERVICE_HOST",
		"agent --binary /proc/self/exe --config " + t.TempDir(): "read the configuration: ",
	} {
		t.Setenv("KUBERNETES_SERVICE_HOST", "")
		stdout, stderr, code := run(t, arguments)
		if !strings.HasPrefix(stderr, "image-cri-shim-agent: "+want) || stdout != "" || code != 1 {
			t.Errorf("%s: exit code %d, stdout %q, stderr\n%swant 1 and\n%s", arguments, code, stdout, stderr, want)
		}
	}
	for _, arguments := range []string{"--help", "agent --help", "remove --help", "status --help", "hook --help", "hook prune --help", "hook await-removal --help", "--version"} {
		if stdout, stderr, code := run(t, arguments); stdout == "" || stderr != "" || code != 0 {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", arguments, code, stdout, stderr)
		}
	}
}
