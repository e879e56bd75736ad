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

// Long is one line with all that is known: version, commit, date, Go release
// and platform.
func Long() string {
	commit, date := Commit, Date
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			switch {
			case setting.Key == "vcs.revision" && commit == "":
				commit = setting.Value
			case setting.Key == "vcs.time" && date == "":
				date = setting.Value
			}
		}
	}
	return fmt.Sprintf("image-cri-shim %s (commit %s, %s), %s %s/%s",
		Short(), known(commit), known(date), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func known(value string) string {
	if value == "" {
		return "unknown"
	}
	return value
}
