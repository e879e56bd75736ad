package explain

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// Resolution is the answer of a running shim to a request to explain images.
type Resolution struct {
	File    string    `json:"file"`              // the configuration, an absolute path
	Read    time.Time `json:"read"`              // when the shim read it
	Restart []string  `json:"restart,omitempty"` // changed keys that take effect only after a restart
	Images  []Image   `json:"images"`
}

// Note describes how the answer may differ from the current file, or returns "" if it does not
// differ.
func (r Resolution) Note() string {
	info, err := os.Stat(r.File)
	switch {
	case err != nil:
		return ""
	case info.ModTime().After(r.Read):
		return fmt.Sprintf("%s has changed since the running shim read it: --fresh uses the current file", r.File)
	case len(r.Restart) > 0:
		return fmt.Sprintf("until it restarts, the running shim uses the former values of %s; --fresh uses the current %s",
			strings.Join(r.Restart, ", "), r.File)
	}
	return ""
}
