package admin

import "path/filepath"

// Paths of the requests on the admin socket.
const (
	AboutPath   = "/about"   // GET; answers with an explain.ShimStatus
	ResolvePath = "/resolve" // GET with one image parameter for each name; returns an explain.Resolution
	TracePath   = "/trace"   // GET with the values of a trace.Query; returns a recording
)

// Socket returns the path of the admin socket in a state directory.
func Socket(stateDirectory string) string { return filepath.Join(stateDirectory, "admin.sock") }
