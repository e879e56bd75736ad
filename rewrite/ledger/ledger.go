// Package ledger records which image an original reference means, if the runtime has the
// image under another reference. It saves the records in the file ledger.json.
//
// After a pull of nginx:1.25 as hub:5000/library/nginx:1.25, the runtime has the image as
// hub:5000/library/nginx:1.25 only, and the ledger maps the original reference to the image:
//
//	names, err := ledger.Open(stateDirectory)
//	entry, ok := names.Lookup("docker.io/library/nginx:1.25")
//	// entry.Image is "sha256:...", entry.Stored is "hub:5000/library/nginx:1.25"
//
// [Ledger.RestoreImage] corrects an image in an answer of the runtime: it hides
// hub:5000/library/nginx:1.25, which the pull has stored, and adds
// docker.io/library/nginx:1.25, which the client asked for.
package ledger

import (
	"sync"
	"time"
)

// Ledger records which image an original reference means, if the runtime has the
// image under another reference. Images are identified by their IDs, because a
// registry's tag may move to another image.
//
// It also records which references the shim's pulls have added to an image in the runtime
// (stored references), and which of these a client has asked for by their own names. These records determine which references
// are hidden; see [placement].
//
// Methods that change the ledger save it before they return. A Ledger is safe for concurrent
// use.
type Ledger struct {
	file  *file
	limit int // maximum number of names

	// recording is held while the records of a pull are derived from the existing ones and
	// applied, because a pull of the stored reference by its own name may end meanwhile.
	recording sync.Mutex

	mutex          sync.RWMutex
	version        uint64                          // counts the changes
	names          map[string]Entry                // by original
	images         map[string][]string             // originals by image ID, in the order of recording
	placements     map[string]map[string]placement // by reference, then by image ID
	placementCount int                             // number of placements of all references
	hiddenHosts    map[string]int                  // number of hidden references by host
	unstoredNames  int                             // number of names for which Entry.IsUnstored is true
	containers     map[string]Container            // by container ID
	pulls          map[string]*activePulls         // in progress, by stored reference; not on disk
}

// Entry maps an original reference to an image.
type Entry struct {
	Original string    `json:"original"`
	Image    string    `json:"image"`              // image ID
	Stored   string    `json:"stored"`             // reference that the image was pulled or found under
	Registry string    `json:"registry,omitempty"` // address of the registry that served the image, for display
	At       time.Time `json:"at"`                 // time of the record; set by the ledger
	// Preloaded is set if the image was found under Stored and not pulled by the shim.
	// Stored then stays visible.
	Preloaded bool `json:"preloaded,omitempty"`
	// Lost is set once the runtime no longer has the image under Stored. If Stored is on
	// the image again later, another client has put it there.
	Lost bool `json:"lost,omitempty"`
}

// nameLimit is the maximum number of names. It is far above the number of images on a node.
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
