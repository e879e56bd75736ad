package unixsocket

import "path/filepath"

// Same reports whether two paths lead to the same socket file. It resolves symbolic links in
// the folders: /run and /var/run, for example, are often the same folder. The sockets need not
// exist.
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
