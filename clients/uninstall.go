package clients

import (
	"errors"
	"fmt"
	"strings"
)

// uninstall replaces the shim's endpoints in a file with the former ones, or with the runtime's
// where these are unknown.
func (n *Node) uninstall(e *fileEdit) error {
	runtime := n.Runtime
	if !plainPath.MatchString(runtime) || n.isShim(runtime) {
		runtime = ""
	}
	original, unknown := n.original(e, runtime)
	var problems []error
	for _, found := range unknown {
		if runtime == "" || e.file.readOnly {
			problems = append(problems, e.wrap(byHand(e, found, runtime)))
		}
		e.change.Unknown = append(e.change.Unknown, fmt.Sprintf("line %d: %s", found.line, found.key))
	}
	e.change.after, e.change.backupAfter = original, nil
	return errors.Join(problems...)
}

// original returns the content of a file in which the endpoints from the backup replace the
// shim's. Where the backup has no other endpoint, the runtime's socket replaces the shim's, and
// the setting is among the unknown ones.
func (n *Node) original(e *fileEdit, runtime string) (content string, unknown []setting) {
	content = e.content
	if e.isCreated(append([]string{n.Shim}, n.FormerShims...)) {
		return "", nil
	}
	var backup []setting
	known := e.change.backup != nil && !e.file.readOnly
	if known {
		var err error
		backup, err = e.file.format.find(*e.change.backup)
		known = err == nil
	}
	for i := len(e.settings) - 1; i >= 0; i-- { // from the end, so that earlier offsets stay valid
		found := e.settings[i]
		if found.endpoint == "" || !n.isShim(socketPath(found.endpoint)) {
			continue
		}
		switch old, ok := findSetting(backup, found.key); {
		case known && ok && !n.isShim(socketPath(old.endpoint)):
			content = replace(content, found, (*e.change.backup)[old.start:old.end])
		case known && !ok && found.fullRange != [2]int{}:
			content = content[:found.fullRange[0]] + content[found.fullRange[1]:]
		default:
			content = replace(content, found, quote(e.rawValue(found), unitEndpoint(found, runtime)))
			unknown = append([]setting{found}, unknown...)
		}
	}
	return content, unknown
}

// byHand returns the error for an endpoint of the shim that uninstall can't replace. It
// contains the line to write.
func byHand(e *fileEdit, found setting, runtime string) error {
	problem, next := "its former value is unknown, and no runtime is known", ""
	if runtime == "" {
		runtime, next = "/run/containerd/containerd.sock", " (with the socket of this node's runtime)"
	}
	if e.file.readOnly {
		problem = "is in a systemd unit, which is not edited"
		next += ", then run systemctl daemon-reload"
	} else {
		next += ", or set `cri` to that socket"
	}
	edited := replace(e.content, found, quote(e.rawValue(found), unitEndpoint(found, runtime)))
	line := strings.TrimSpace(strings.Split(edited, "\n")[found.line-1])
	return lineError(found.line, found.key, fmt.Sprintf("points at the shim, and %s: change the line to `%s`%s", problem, line, next))
}
