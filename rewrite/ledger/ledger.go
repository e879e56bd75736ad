// Package ledger records which image an original reference means, if the runtime has the
// image under another reference. The records are kept in the file ledger.json.
//
//	names, err := ledger.Open(stateDirectory)
//	known, ok := names.Lookup("docker.io/library/nginx:1.25")
//
// An answer of the runtime is changed by [Ledger.RestoreImage]: it hides the references that
// pulls for other names have put on an image, and adds the names that were asked for.
package ledger

import (
	"sync"
	"time"
)

// Ledger records which image an original reference means, if the runtime has the
// image under another reference. Images are identified by their IDs, because a
// registry's tag may move to another image.
//
// It also records which references the shim's pulls have put on an image, and which
// of these a client has asked for by their own names. Which references are hidden
// follows from that; see [placement].
//
// A change is on disk before the call that makes it is answered. A Ledger is safe for
// concurrent use.
type Ledger struct {
	file  *file
	limit int // names kept

	// recording is held while a pull's records are derived from those that there are, and
	// made: a pull of the stored reference by its own name may end at the same time.
	recording sync.Mutex

	mutex          sync.RWMutex
	version        uint64                          // counts the changes
	names          map[string]Entry                // by original
	images         map[string][]string             // originals by image ID, in the order of recording
	placements     map[string]map[string]placement // by reference, then by image ID
	placementCount int                             // placements, of all references
	hiddenHosts    map[string]int                  // number of hidden references by their hosts
	unstoredNames  int                             // names that the runtime has no reference for
	containers     map[string]Container            // by container ID
	pulls          map[string]*activePulls         // in progress, by stored reference; not on disk
}

// Entry says which image an original reference means.
type Entry struct {
	Original string    `json:"original"`
	Image    string    `json:"image"`              // its ID
	Stored   string    `json:"stored"`             // the reference that the image was pulled or found under
	Registry string    `json:"registry,omitempty"` // address of the registry that served it, for people
	At       time.Time `json:"at"`                 // set by the ledger
	// Preloaded is set if no pull of the shim has put Stored on the image: the image
	// was found under it, and Stored stays visible.
	Preloaded bool `json:"preloaded,omitempty"`
	// Lost is set once the runtime no longer has the image under Stored. If it has again,
	// another client has put it there.
	Lost bool `json:"lost,omitempty"`
}

// nameLimit bounds the names. It is far above the number of images on a node.
const nameLimit = 20_000

func newLedger(file *file) *Ledger {
	return &Ledger{
		file:        file,
		limit:       nameLimit,
		names:       make(map[string]Entry),
		images:      make(map[string][]string),
		placements:  make(map[string]map[string]placement),
		hiddenHosts: make(map[string]int),
		containers:  make(map[string]Container),
		pulls:       make(map[string]*activePulls),
	}
}
