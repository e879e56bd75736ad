package explain

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// Resolution is the answer of a running shim that was asked to explain images.
type Resolution struct {
	File    string    `json:"file"`              // the configuration, an absolute path
	Read    time.Time `json:"read"`              // when the shim has read it
	Restart []string  `json:"restart,omitempty"` // its keys that take effect after a restart
	Images  []Image   `json:"images"`
}

// Note returns how the answer may differ from what the file says now; empty if it does not.
func (r Resolution) Note() string {
	info, err := os.Stat(r.File)
	switch {
	case err != nil:
		return ""
	case info.ModTime().After(r.Read):
		return fmt.Sprintf("%s has changed since the running shim has read it: --fresh goes by what it says now", r.File)
	case len(r.Restart) > 0:
		return fmt.Sprintf("the running shim has the former values of these keys until it is restarted: %s: --fresh goes by what %s says now",
			strings.Join(r.Restart, ", "), r.File)
	}
	return ""
}
