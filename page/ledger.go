package page

import (
	"net/http"
	"time"
)

// maxLedgerImages limits the images that a search returns.
const maxLedgerImages = 50

// Name is a name in the ledger.
type Name struct {
	Original string    `json:"original"` // requested name
	Image    string    `json:"image"`    // image ID
	Stored   string    `json:"stored"`   // stored reference
	Registry string    `json:"registry,omitempty"`
	At       time.Time `json:"at"`
}

// ledgerImages is the result of a search in the ledger.
type ledgerImages struct {
	Images []ledgerImage `json:"images"`
	Found  int           `json:"found"` // number of images that match
	Names  int           `json:"names"` // number of all names in the ledger
}

// ledgerImage is an image with its names that match a search.
type ledgerImage struct {
	Image string `json:"image"`
	Names []Name `json:"names"` // the newest first
}

// search searches the ledger for one viewer at a time, because a search holds the ledger's
// lock while it reads thousands of names.
func (p *Page) search(response http.ResponseWriter, request *http.Request) {
	select {
	case p.searchSlot <- struct{}{}:
	case <-request.Context().Done():
		return
	}
	found := func() ledgerImages {
		defer func() { <-p.searchSlot }()
		return groupByImage(p.sources.Ledger(request.URL.Query().Get("q")))
	}()
	writeJSON(response, found) // after the search slot is free, because the client may block it
}

// groupByImage returns the first images and their names. all is the number of all names.
func groupByImage(names []Name, all int) ledgerImages {
	found := ledgerImages{Images: []ledgerImage{}, Names: all}
	indexes := make(map[string]int) // by image ID
	for _, name := range names {
		i, known := indexes[name.Image]
		if !known {
			i = len(indexes)
			indexes[name.Image] = i
			if i < maxLedgerImages {
				found.Images = append(found.Images, ledgerImage{Image: name.Image})
			}
		}
		if i < maxLedgerImages {
			found.Images[i].Names = append(found.Images[i].Names, name)
		}
	}
	found.Found = len(indexes)
	return found
}
