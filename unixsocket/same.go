package unixsocket

import "path/filepath"

// Same reports whether two paths lead to the same socket file, with the links of their
// folders resolved: /run and /var/run often are the same folder. The sockets need not exist.
func Same(a, b string) bool {
	resolved := func(path string) string {
		folder, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return path // the folder does not exist yet
		}
		return filepath.Join(folder, filepath.Base(path))
	}
	return resolved(a) == resolved(b)
}
