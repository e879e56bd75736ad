package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// checkConfiguration reports whether the file is valid, and its warnings.
func checkConfiguration(n *node) []Finding {
	t := topic{"configuration", n.File}
	var findings []Finding
	if n.Problem != nil {
		hint := "mend the file; image-cri-shim check tells when it is valid"
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
		findings = append(findings, t.warn("mend it, the change holds at once; image-cri-shim check shows what the file means", "%s", warning))
	}
	return findings
}

// checkPermissions reports whether other users can change the configuration, and so the
// images that the node runs. Readable passwords are among the configuration's warnings.
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
		return []Finding{t.warn("chown root "+n.File, "belongs to user %d, who can change where images come from", owner)}
	}
	return []Finding{t.ok("mode %04o, owner %d", mode, owner)}
}
