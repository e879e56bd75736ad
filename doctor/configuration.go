package doctor

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"image-cri-shim/config"
)

// checkConfiguration reports the problems or warnings of the configuration file.
func checkConfiguration(n *node) []Finding {
	t := topic{"configuration", n.File}
	var findings []Finding
	if n.Problem != nil {
		hint, skipped := "correct the file; `image-cri-shim check --file "+n.File+"` verifies it", "; other checks are skipped until the file is valid"
		if errors.Is(n.Problem, fs.ErrPermission) {
			hint, skipped = rootHint, "; other checks are skipped"
		}
		problems := config.ProblemsOf(n.File, n.Problem)
		for i, problem := range problems {
			text, remedy := splitHint(problem)
			if i == len(problems)-1 {
				text += skipped
			}
			findings = append(findings, t.fail(cmp.Or(remedy, hint), "%s", text))
		}
		return findings
	}
	for _, warning := range n.Settings.Warnings {
		if warning.Hint == "do: chmod o-w "+n.File {
			continue // reported by checkPermissions
		}
		text, remedy := splitHint(warning)
		findings = append(findings, t.warn(cmp.Or(remedy, "correct the file; the shim reloads it without a restart"), "%s", text))
	}
	if len(findings) == 0 {
		return []Finding{t.ok("valid, registries: %d", len(n.Settings.Registries))}
	}
	return findings
}

// splitHint returns the text of a message with its place, and its hint. A command in the hint
// is quoted.
func splitHint(m config.Message) (text, hint string) {
	hint = m.Hint
	if command, ok := strings.CutPrefix(hint, "do: "); ok {
		hint = "`" + command + "`, without a restart"
	}
	m.Hint = ""
	return m.String(), hint
}

// checkLastGood reports whether a shim runs with an earlier content of a file that has
// problems.
func checkLastGood(ctx context.Context, n *node) []Finding {
	running, err := n.getShimStatus(ctx)
	if err != nil {
		return nil // the shim may not run, or the state directory is another one
	}
	here, err := os.Stat(n.File)
	if err != nil {
		return nil
	}
	there, err := os.Stat(running.File)
	if err != nil || !os.SameFile(here, there) {
		return nil
	}
	return []Finding{topic{"running shim", n.Admin}.ok("the last good configuration, read at %s, stays in force until the shim restarts; the shim can't start with this file", running.Read.Local().Format(time.DateTime))}
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
		return []Finding{t.fail("`chmod o-w "+n.File+"`", "mode %04o: every user can change where images come from", mode)}
	case owner != 0 && owner != os.Geteuid():
		return []Finding{t.warn("`chown root "+n.File+"`", "owned by user %d: this user can change where images come from", owner)}
	}
	return []Finding{t.ok("mode %04o, owner %d", mode, owner)}
}
