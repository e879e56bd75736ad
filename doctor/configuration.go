package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// checkConfiguration reports the problems or warnings of the configuration file.
func checkConfiguration(n *node) []Finding {
	t := topic{"configuration", n.File}
	var findings []Finding
	if n.Problem != nil {
		hint := "correct the file, then verify it with image-cri-shim check"
		if errors.Is(n.Problem, fs.ErrPermission) {
			hint = rootHint
		}
		for problem := range strings.SplitSeq(n.Problem.Error(), "\n") {
			findings = append(findings, t.fail(hint, "%s", problem))
		}
		return findings
	}
	if len(n.Settings.Warnings) == 0 {
		return []Finding{t.ok("valid, registries: %d", len(n.Settings.Registries))}
	}
	for _, warning := range n.Settings.Warnings {
		findings = append(findings, t.warn("correct the file; the shim reloads it, and image-cri-shim check shows the meaning of the file", "%s", warning))
	}
	return findings
}

// checkPermissions reports whether users other than root and the current one can change
// the configuration, and thereby the images that the node runs. checkConfiguration warns of
// passwords that others can read.
func checkPermissions(_ context.Context, n *node) []Finding {
	t := topic{"permissions", n.File}
	info, err := os.Stat(n.File)
	if err != nil {
		return []Finding{t.fail(rootHint, "%v", err)}
	}
	owner := 0
	if system, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = int(system.Uid)
	}
	mode := info.Mode().Perm()
	switch {
	case mode&0o002 != 0:
		return []Finding{t.fail("chmod o-w "+n.File, "mode %04o: every user can change where images come from", mode)}
	case owner != 0 && owner != os.Geteuid():
		return []Finding{t.warn("chown root "+n.File, "owned by user %d: this user can change where images come from", owner)}
	}
	return []Finding{t.ok("mode %04o, owner %d", mode, owner)}
}
