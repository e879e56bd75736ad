package cli_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"image-cri-shim/cli"
)

// run runs the program with arguments that must not contain blanks.
func run(t *testing.T, arguments string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errors bytes.Buffer
	code = cli.Main(t.Context(), append([]string{"image-cri-shim"}, strings.Fields(arguments)...), &out, &errors)
	return out.String(), errors.String(), code
}

var commands = []string{"check", "resolve", "doctor", "trace", "install", "uninstall", "migrate", "version", "completion", "help"}

// TestUsageErrors requires exit code 64, two lines on standard error and nothing on standard
// output for wrong arguments of each command.
func TestUsageErrors(t *testing.T) {
	type usage struct{ arguments, problem, hint string }
	cases := []usage{
		{"reslove", `unknown command "reslove"`, "did you mean resolve? (image-cri-shim --help)"},
		{"chekc", `unknown command "chekc"`, "did you mean check? (image-cri-shim --help)"},
		{"zzz", `unknown command "zzz"`, "see image-cri-shim --help"},
		{"help reslove", `unknown command "reslove"`, "did you mean resolve? (image-cri-shim --help)"},
		{"help zzz", `unknown command "zzz"`, "see image-cri-shim --help"},
		{"--file=", "flag --file needs a value", "see image-cri-shim --help"},
		{"--file= check", "check: flag --file needs a value", "see image-cri-shim check --help"},
		{"doctor -f=", "doctor: flag --file needs a value", "see image-cri-shim doctor --help"},
		{"trace --write=", "trace: flag --write needs a value", "see image-cri-shim trace --help"},
		{"trace --read=", "trace: flag --read needs a value", "see image-cri-shim trace --help"},
		{"trace --method=", "trace: found an empty value, expected a name or pattern", "see image-cri-shim trace --help"},
		{"trace --image=", "trace: found an empty value, expected a name or pattern", "see image-cri-shim trace --help"},
		{"--help reslove", `unknown command "reslove"`, "did you mean resolve? (image-cri-shim --help)"},
		{"--fiel x", `unknown flag "--fiel"`, "did you mean --file? (image-cri-shim --help)"},
		{"-q", `unknown flag "-q"`, "see image-cri-shim --help"},
		{"---", `unknown flag "---"`, "see image-cri-shim --help"},
		{"--file", "flag --file needs a value", "see image-cri-shim --help"},
		{"check --flie x", `check: unknown flag "--flie"`, "did you mean --file? (image-cri-shim check --help)"},
		{"check shim.yaml", `check: unexpected argument "shim.yaml"`, "name the configuration with --file (image-cri-shim check --help)"},
		{"resolve", "resolve: name at least one image, such as nginx:1.25", "see image-cri-shim resolve --help"},
		{"resolve -o", "resolve: flag -o needs a value", "see image-cri-shim resolve --help"},
		{"resolve -o jsn nginx", `resolve: --output: found "jsn", expected text or json`, "did you mean json? (image-cri-shim resolve --help)"},
		{"resolve --all-nodes-images nginx", `resolve: found image "nginx" and --all-nodes-images, expected only one of them`, "see image-cri-shim resolve --help"},
		{"resolve nginx -o json", `resolve: found flag "-o" after the argument "nginx"`, "put flags before the arguments (image-cri-shim resolve --help)"},
		{"resolve --fresh=x nginx", `resolve: --fresh: found "x", expected no value`, "did you mean --fresh? (image-cri-shim resolve --help)"},
		{"doctor --fail warn", `doctor: unknown flag "--fail"`, "did you mean --fail-on? (image-cri-shim doctor --help)"},
		{"doctor --fail-on ok", `doctor: --fail-on: found "ok", expected warn or fail`, "see image-cri-shim doctor --help"},
		{"doctor -o xml", `doctor: --output: found "xml", expected text or json`, "see image-cri-shim doctor --help"},
		{"trace --for 1", `trace: --for: found "1", expected a duration such as 1s, 500ms or 2m`, "did you mean 1s? (image-cri-shim trace --help)"},
		{"trace --slower-than soon", `trace: --slower-than: found "soon", expected a duration such as 1s, 500ms or 2m`, "see image-cri-shim trace --help"},
		{"trace --count many", `trace: --count: found "many", expected a whole number`, "see image-cri-shim trace --help"},
		{"trace --count -1", "trace: --count: found -1, expected a positive number", "see image-cri-shim trace --help"},
		{"trace --read x --for 1s", "trace: found --for with --read: --for limits a running trace only", "see image-cri-shim trace --help"},
		{"trace --for 0", "trace: --for: found 0s, expected a positive duration such as 30s or 5m", "see image-cri-shim trace --help"},
		{"trace --since 30", `trace: --since: found "30", expected a duration such as 1s, 500ms or 2m`, "did you mean 30s? (image-cri-shim trace --help)"},
		{"trace --no-follow", "trace: found --no-follow without --since", "add --since 5m (image-cri-shim trace --help)"},
		{"trace --read x --since 1s", "trace: found --since with --read: --since shows calls that the running shim keeps", "see image-cri-shim trace --help"},
		{"trace --client uid:root", `trace: client "uid:root": expected a user ID after uid:`, "see image-cri-shim trace --help"},
		{"trace --method [", `trace: pattern "[": syntax error in pattern`, "see image-cri-shim trace --help"},
		{"trace Version", `trace: unexpected argument "Version"`, "name the configuration with --file (image-cri-shim trace --help)"},
		{"install --dryrun", `install: unknown flag "--dryrun"`, "did you mean --dry-run? (image-cri-shim install --help)"},
		{"uninstall --chekc", `uninstall: unknown flag "--chekc"`, "did you mean --check? (image-cri-shim uninstall --help)"},
		{"migrate", "migrate: found 0 arguments, expected one manifest or -", "pass the ConfigMap: kubectl -n kube-system get configmap image-cri-shim -o yaml | image-cri-shim migrate - (image-cri-shim migrate --help)"},
		{"migrate --write= -", "migrate: flag --write needs a value", "see image-cri-shim migrate --help"},
		{"version 1", `version: unexpected argument "1"`, "see image-cri-shim version --help"},
		{"completion", `completion: found shell "", expected bash, zsh or fish`, "see image-cri-shim completion --help"},
		{"completion fsh", `completion: found shell "fsh", expected bash, zsh or fish`, "did you mean fish? (image-cri-shim completion --help)"},
		{"completion bash zsh", `completion: unexpected argument "zsh", expected one shell`, "see image-cri-shim completion --help"},
		{"help check doctor", `help: unexpected argument "doctor", expected one command`, "see image-cri-shim help --help"},
	}
	for _, command := range commands {
		cases = append(cases, usage{command + " --zzz", command + `: unknown flag "--zzz"`, "see image-cri-shim " + command + " --help"})
	}
	for _, command := range []string{"check", "doctor", "trace", "install", "uninstall"} {
		cases = append(cases, usage{command + " zzz", command + `: unexpected argument "zzz"`, "name the configuration with --file (image-cri-shim " + command + " --help)"})
	}
	for _, c := range cases {
		t.Run(c.arguments, func(t *testing.T) {
			stdout, stderr, code := run(t, c.arguments)
			if want := "image-cri-shim: " + c.problem + "\nhint: " + c.hint + "\n"; stderr != want || stdout != "" || code != 64 {
				t.Errorf("exit code %d, stdout %q, stderr\n%swant 64 and\n%s", code, stdout, stderr, want)
			}
		})
	}
}

// TestHelp requires that help is on standard output, with exit code 0.
func TestHelp(t *testing.T) {
	cases := map[string]string{
		"--help": "image-cri-shim - ", "-h": "image-cri-shim - ", "help": "image-cri-shim - ",
		"resolve --help nginx": "image-cri-shim resolve - ", "--help resolve": "image-cri-shim resolve - ",
	}
	for _, command := range commands[:len(commands)-1] { // help --help is --help
		for _, arguments := range []string{command + " --help", command + " -h", "help " + command} {
			cases[arguments] = "image-cri-shim " + command + " - "
		}
	}
	for arguments, want := range cases {
		if stdout, stderr, code := run(t, arguments); !strings.HasPrefix(stdout, "NAME:\n   "+want) || stderr != "" || code != 0 {
			t.Errorf("%s: exit code %d, stderr %q, stdout %.100q; want 0 and the help of %s", arguments, code, stderr, stdout, want)
		}
	}
}

// TestHints requires a second line with the next step for errors that have an obvious one.
func TestHints(t *testing.T) {
	folder := t.TempDir()
	configuration := filepath.Join(folder, "shim.yaml")
	if err := os.WriteFile(configuration, []byte("image: "+folder+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(folder, "missing.yaml")
	const noConfiguration = "hint: name the configuration with --file, or start from the example /usr/share/doc/image-cri-shim/packaging/image-cri-shim.yaml\n"
	for arguments, want := range map[string]struct {
		hint string
		code int
	}{
		"--file " + missing:                 {noConfiguration, 1},
		"check --file " + missing:           {noConfiguration, 1},
		"install --file " + missing:         {noConfiguration, 1},
		"uninstall --file " + missing:       {noConfiguration, 1},
		"resolve --file " + missing + " a":  {noConfiguration, 2},
		"trace --file " + missing:           {noConfiguration, 1},
		"trace --file " + configuration:     {"hint: start the shim: systemctl start image-cri-shim, or print a recording with --read FILE\n", 1},
		"trace --file " + missing + " -o x": {"hint: see image-cri-shim trace --help\n", 64},
	} {
		stdout, stderr, code := run(t, arguments)
		first, second, _ := strings.Cut(stderr, "\n")
		if !strings.HasPrefix(first, "image-cri-shim: ") || second != want.hint || stdout != "" || code != want.code {
			t.Errorf("%s: exit code %d, stdout %q, stderr\n%swant %d and\n%s", arguments, code, stdout, stderr, want.code, want.hint)
		}
	}
}

// TestMain runs the program instead of the tests in processes that the tests start.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_IMAGE_CRI_SHIM") != "" {
		os.Exit(cli.Main(context.Background(), os.Args, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// TestHintForAnotherUser requires that commands which need root say so.
func TestHintForAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: can't run as another user")
	}
	folder := t.TempDir()
	if err := os.Chmod(filepath.Dir(folder), 0o755); err != nil {
		t.Fatal(err)
	}
	configuration := filepath.Join(folder, "shim.yaml")
	if err := os.WriteFile(configuration, []byte("auth: admin:canary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(folder, "program")
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"check", "resolve nginx", "trace"} {
		process := exec.CommandContext(t.Context(), program, append([]string{"--file", configuration}, strings.Fields(command)...)...)
		process.Env = []string{"RUN_IMAGE_CRI_SHIM=yes"}
		process.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if output, err := process.CombinedOutput(); err == nil || !strings.HasSuffix(string(output), ": permission denied\nhint: run this command as root\n") {
			t.Errorf("%s: %v\n%s", command, err, output)
		}
	}
}
