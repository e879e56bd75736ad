// Package version describes the running build. A release sets the variables at link time:
//
//	go build -ldflags "-X image-cri-shim/version.Version=v1.2.3 ..."
//
// Other builds use the information that the go command embeds ([debug.ReadBuildInfo]).
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

var (
	// Version is the version of the release, such as "v1.2.3".
	Version string
	// Commit is the full hash of the git commit.
	Commit string
	// Date is the time of the commit in RFC 3339.
	Date string
)

// Short returns the version, or "devel" if it is unknown.
func Short() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// Revision returns the hash of the git commit, or "" if it is unknown.
func Revision() string { return built(Commit, "vcs.revision") }

// built returns value, or the embedded build setting with the given key if value is empty.
func built(value, key string) string {
	info, ok := debug.ReadBuildInfo()
	if value != "" || !ok {
		return value
	}
	for _, setting := range info.Settings {
		if setting.Key == key {
			return setting.Value
		}
	}
	return ""
}

// Long returns one line with version, commit, date, Go version and platform.
func Long() string {
	return fmt.Sprintf("image-cri-shim %s (commit %s, %s), %s %s/%s",
		Short(), known(Revision()), known(built(Date, "vcs.time")), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func known(value string) string {
	if value == "" {
		return "unknown"
	}
	return value
}
