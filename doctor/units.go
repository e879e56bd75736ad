package doctor

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"time"

	"image-cri-shim/printable"
)

// units is the state of the shim's units, or empty if systemd does not report it.
type units struct {
	service, socket unit
	lastError       string // last error in the journal of a service that restarts again and again
}

// unit has the properties of a unit, such as ActiveState.
type unit map[string]string

const (
	serviceUnit = "image-cri-shim.service"
	socketUnit  = "image-cri-shim.socket"
)

// readUnits reads the state of the shim's units from systemd. Without systemd, it is empty.
func readUnits(ctx context.Context) (u units) {
	output := runProgram(ctx, "systemctl", "show", "-p", "Id,ActiveState,SubState,Result,NRestarts,UnitFileState,MainPID", serviceUnit, socketUnit)
	for block := range strings.SplitSeq(output, "\n\n") {
		read := unit{}
		for line := range strings.Lines(block) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			read[key] = value
		}
		switch read["Id"] {
		case serviceUnit:
			u.service = read
		case socketUnit:
			u.socket = read
		}
	}
	if u.restartsAgain() {
		// Messages of the service only: after -u, the last error is systemd's, without a cause.
		u.lastError = printable.Line(runProgram(ctx, "journalctl", "_SYSTEMD_UNIT="+serviceUnit, "-p", "err", "-n", "1", "-o", "cat"), lastErrorLimit)
	}
	return u
}

// lastErrorLimit bounds the error in a finding, in bytes.
const lastErrorLimit = 500

// restartsAgain reports whether systemd restarts the service because it ended.
func (u units) restartsAgain() bool {
	switch u.service["NRestarts"] {
	case "", "0":
		return u.service["SubState"] == "auto-restart"
	}
	return u.service["ActiveState"] == "activating"
}

// restartFinding is the finding if the service restarts again and again.
func (n *node) restartFinding(t topic) Finding {
	text := "the shim restarts again and again"
	cause := n.units.lastError
	if cause != "" {
		text += ": " + cause
	}
	hint := "correct the cause, then wait: systemd starts the shim every second; `journalctl -u image-cri-shim -n 20` shows the log"
	switch {
	case strings.Contains(cause, "systemd passed the socket"):
		hint = listenHint(n.Settings.Shim)
	case strings.Contains(cause, "is in use"):
		hint = "stop the process that serves the socket; `ss -lxp | grep " + n.Settings.Shim + "` shows it"
	}
	f := t.fail(hint, "%s", text)
	f.consequence = "pulls fail: the shim restarts again and again"
	return f
}

// usesSocketUnit reports whether systemd holds, or may hold, the shim's socket.
func (u units) usesSocketUnit() bool {
	return u.socket["UnitFileState"] == "enabled" || u.socket["ActiveState"] == "active"
}

// listenHint returns the remedy if the socket unit has another socket than the configuration.
// The empty ListenStream= removes the former socket, which would stay otherwise.
func listenHint(shim string) string {
	const folder = "/etc/systemd/system/image-cri-shim.socket.d"
	return "set ListenStream= of the socket unit: `mkdir -p " + folder + " && printf '[Socket]\\nListenStream=\\nListenStream=" + shim + "\\n' >" + folder + "/shim.conf` and " +
		"`systemctl daemon-reload && systemctl stop image-cri-shim && systemctl restart image-cri-shim.socket image-cri-shim`"
}

// checkSocketUnit reports whether systemd holds the socket if it should.
func checkSocketUnit(_ context.Context, n *node) []Finding {
	if n.units.socket["UnitFileState"] != "enabled" || n.units.socket["ActiveState"] != "inactive" || n.units.service["ActiveState"] != "active" {
		return nil
	}
	return []Finding{topic{"socket unit", socketUnit}.warn("`systemctl stop image-cri-shim && systemctl start image-cri-shim.socket image-cri-shim`",
		"the unit is enabled, but not active: calls fail while the shim restarts")}
}

// runProgram returns the beginning of a program's output, or "" if the program is missing or
// fails.
func runProgram(ctx context.Context, name string, arguments ...string) string {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var output boundedOutput
	command := exec.CommandContext(ctx, name, arguments...)
	command.Stdout = &output
	command.WaitDelay = time.Second // a child may keep the output open
	if command.Run() != nil {
		return ""
	}
	return output.String()
}

// outputLimit bounds the output of a program, in bytes.
const outputLimit = 16 << 10

// boundedOutput keeps the first bytes written to it.
type boundedOutput struct{ bytes.Buffer }

func (b *boundedOutput) Write(p []byte) (int, error) {
	_, err := b.Buffer.Write(p[:min(len(p), outputLimit-b.Len())])
	return len(p), err
}
