package admin

import "path/filepath"

// Paths of the admin socket's requests.
const (
	ResolvePath = "/resolve" // GET with an image parameter for each name; answers with an explain.Resolution
	TracePath   = "/trace"   // GET with the query of a trace.Filter, and body for messages; answers with a recording
)

// Socket returns the path of the admin socket of the daemon with a state directory.
func Socket(stateDirectory string) string { return filepath.Join(stateDirectory, "admin.sock") }
