// Package version says which build this is. A release sets the variables at
// link time:
//
//	go build -ldflags "-X image-cri-shim/version.Version=v1.2.3 ..."
//
// Any other build finds what it can in the information that the Go tool embeds
// (runtime/debug.ReadBuildInfo).
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

var (
	// Version is the release, "v1.2.3".
	Version string
	// Commit is the git commit that was built, in full.
	Commit string
	// Date is when the commit was made, in RFC 3339.
	Date string
)

// Short is the version alone, "devel" where it is unknown.
func Short() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// Revision is the git commit that was built, empty where it is unknown.
func Revision() string { return built(Commit, "vcs.revision") }

// built is a value of the link time, or what the Go tool has embedded for it.
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

// Long is one line with all that is known: version, commit, date, Go release
// and platform.
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
