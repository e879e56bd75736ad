package service

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"image-cri-shim/agent/host"
	"image-cri-shim/agent/systemd"
	"image-cri-shim/config"
	"image-cri-shim/packaging"
	"image-cri-shim/unixsocket"
)

// socket is the shim's socket as the socket unit creates it.
type socket struct {
	listen  string   // path of the socket
	aliases []string // further paths that lead to it
	owner   host.Owner
	mode    fs.FileMode
}

// socketOf returns the socket for the configuration. A socket that clients use is never
// replaced, because every call would fail meanwhile: if `shim` has changed, the new path
// becomes a symbolic link to the socket, so that clients can use both paths.
func (s *Service) socketOf(ctx context.Context, settings *config.Config, unit systemd.Unit) socket {
	shim := canonical(settings.Shim)
	wanted := socket{listen: shim}
	known := slices.Clone(unit.Symlinks)
	if len(unit.Listen) > 0 && filepath.IsAbs(unit.Listen[0]) {
		if unit.IsActive() {
			wanted.listen = unit.Listen[0]
			known = append(known, shim)
		} else if !s.Packaged() {
			known = append(known, unit.Listen[0])
		}
	}
	for _, path := range known {
		if path = canonical(path); !unixsocket.Same(path, wanted.listen) && !slices.Contains(wanted.aliases, path) {
			wanted.aliases = append(wanted.aliases, path)
		}
	}
	slices.Sort(wanted.aliases)
	wanted.owner, wanted.mode = s.socketAccess(ctx, settings, wanted.listen)
	return wanted
}

// socketAccess returns the owner and mode of the runtime's socket. Without a runtime, it
// returns those of the shim's socket, or else root and 0660.
func (s *Service) socketAccess(ctx context.Context, settings *config.Config, shim string) (host.Owner, fs.FileMode) {
	paths := []string{settings.Runtime, shim}
	if settings.Runtime == "" {
		paths[0], _ = config.DetectRuntime(ctx) // empty if no runtime answers
	}
	for _, path := range paths {
		if info, err := os.Stat(s.path(path)); path != "" && err == nil && info.Mode().Type() == fs.ModeSocket {
			return host.OwnerOf(info), info.Mode().Perm()
		}
	}
	return host.Owner{}, 0o660
}

// canonical replaces /var/run at the beginning of a path by /run. systemd logs a warning about
// /var/run.
func canonical(path string) string {
	if below, ok := strings.CutPrefix(path, "/var/run/"); ok {
		return "/run/" + below
	}
	return path
}

// setting is a line of a unit file.
type setting struct{ section, key, value string }

// settings returns the settings of the socket unit.
func (s socket) settings() []setting {
	settings := []setting{
		{"Socket", "ListenStream", escape(s.listen)},
		{"Socket", "SocketUser", strconv.Itoa(s.owner.UID)},
		{"Socket", "SocketGroup", strconv.Itoa(s.owner.GID)},
		{"Socket", "SocketMode", fmt.Sprintf("%#o", s.mode)},
	}
	if len(s.aliases) > 0 {
		escaped := make([]string, len(s.aliases))
		for i, alias := range s.aliases {
			escaped[i] = quote(alias)
		}
		settings = append(settings, setting{"Socket", "Symlinks", strings.Join(escaped, " ")})
	}
	return settings
}

// folderSettings returns the settings of the service unit for folders that it may not write to
// otherwise: that of a socket outside /run, and another state directory.
func folderSettings(settings *config.Config, shim socket) []setting {
	var folders []setting
	for _, path := range append([]string{shim.listen}, shim.aliases...) {
		if folder := filepath.Dir(path); folder != "/run" && !strings.HasPrefix(folder, "/run/") {
			folders = append(folders, setting{"Service", "ReadWritePaths", quote("-" + folder)})
		}
	}
	if state := settings.StateDirectory; state != shimState {
		folders = append(folders, setting{"Service", "ReadWritePaths", quote(state)}, setting{"Unit", "RequiresMountsFor", quote(state)})
	}
	slices.SortFunc(folders, func(a, b setting) int { return strings.Compare(a.section+a.value, b.section+b.value) })
	return slices.Compact(folders)
}

// escape returns a value in which no % begins a specifier of systemd.unit(5).
func escape(value string) string { return strings.ReplaceAll(value, "%", "%%") }

// quote returns a value as one word of a list in a unit file.
func quote(value string) string {
	if value = escape(value); !strings.ContainsAny(value, " \t\"'\\") {
		return value
	}
	return strconv.Quote(value)
}

// render returns a unit file with settings. The first setting of a key replaces the line with
// the key; a setting without a line, or with a key that the file repeats, is added to its section.
func render(unit string, settings []setting) []byte {
	lines := strings.SplitAfter(unit, "\n")
	added := map[string]string{}
	for _, s := range settings {
		line := s.key + "=" + s.value + "\n"
		at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, s.key+"=") })
		if at < 0 || s.key == "ReadWritePaths" {
			added[s.section] += line
			continue
		}
		lines[at] = line
	}
	for section, more := range added {
		at := slices.Index(lines, "["+section+"]\n")
		lines[at] += more
	}
	return []byte(strings.Join(lines, ""))
}

// dropIn returns a drop-in with settings. An empty value removes the package's ListenStream.
func dropIn(settings []setting) []byte {
	var content strings.Builder
	section := ""
	for _, s := range settings {
		if s.section != section {
			section = s.section
			fmt.Fprintf(&content, "[%s]\n", section)
		}
		if s.key == "ListenStream" {
			content.WriteString("ListenStream=\n")
		}
		fmt.Fprintf(&content, "%s=%s\n", s.key, s.value)
	}
	return []byte(content.String())
}

// dropInOf returns the path of this package's drop-in for a packaged unit.
func dropInOf(unit string) string {
	return filepath.Join(unitFolder, unit+".d", "image-cri-shim-agent.conf")
}

// unitFiles returns the unit files for the configuration. For a package they are the drop-ins
// that it needs.
func (s *Service) unitFiles(settings *config.Config, shim socket, now systemd.Unit) (units []file) {
	folders := folderSettings(settings, shim)
	if !s.Packaged() {
		start := setting{"Service", "ExecStart", filepath.Join(currentLink, binaryName) + " --file " + config.DefaultFile}
		return []file{
			{filepath.Join(unitFolder, socketUnit), render(packaging.Socket, shim.settings()), 0o644},
			{filepath.Join(unitFolder, serviceUnit), render(packaging.Service, append([]setting{start}, folders...)), 0o644},
		}
	}
	_, err := os.Lstat(s.path(dropInOf(socketUnit)))
	if !slices.Equal(now.Listen, []string{canonical(settings.Shim)}) || err == nil {
		units = append(units, file{dropInOf(socketUnit), dropIn(shim.settings()), 0o644})
	}
	if len(folders) > 0 {
		units = append(units, file{dropInOf(serviceUnit), dropIn(folders), 0o644})
	}
	return units
}
