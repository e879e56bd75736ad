package clients

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// ShimEndpoints lists, for display, the places in clients' files that name the shim's socket.
// In a file that can't be parsed, every line with the socket's path counts unless it is a
// comment.
func (n *Node) ShimEndpoints() (places []string, err error) {
	var problems []error
	for _, c := range n.clients() {
		for _, f := range c.files {
			content, err := os.ReadFile(f.path)
			switch {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil:
				problems = append(problems, err)
			default:
				for _, place := range n.shimEndpoints(f, string(content)) {
					places = append(places, f.path+": "+place)
				}
			}
		}
	}
	return places, errors.Join(problems...)
}

func (n *Node) shimEndpoints(f file, content string) (places []string) {
	settings, err := f.format.find(content)
	if err == nil {
		for _, found := range settings {
			if n.isShim(socketPath(found.endpoint)) {
				places = append(places, fmt.Sprintf("line %d: %s", found.line, found.key))
			}
		}
		return places
	}
	namesShim := func(line string) bool {
		return slices.ContainsFunc(append([]string{n.Shim}, n.FormerShims...), func(socket string) bool {
			return strings.Contains(line, strings.TrimPrefix(socket, "/var")) // /run and /var/run may be the same folder
		})
	}
	for i, line := range strings.Split(content, "\n") {
		if !isComment(line) && namesShim(line) {
			places = append(places, fmt.Sprintf("line %d", i+1))
		}
	}
	return places
}
