package ledger

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"image-cri-shim/rewrite/imagename"
)

// document is the content of the ledger's file.
type document struct {
	Version    int         `json:"version"`
	Names      []Entry     `json:"names"`
	Left       []ImageRef  `json:"left"`
	Asked      []ImageRef  `json:"asked"`
	Containers []Container `json:"containers"`
}

const (
	documentVersion = 2
	documentLimit   = 64 << 20 // bytes; far above the size of nameLimit entries
)

// decodeDocument decodes and checks a document. It converts version 1 to the current
// version.
func decodeDocument(content []byte) (document, error) {
	var d struct {
		document
		Hidden []ImageRef `json:"hidden"` // version 1 only
	}
	if err := json.Unmarshal(content, &d); err != nil {
		return document{}, err
	}
	if d.Version != 1 && d.Version != documentVersion {
		return document{}, fmt.Errorf("unsupported version %d, want at most %d", d.Version, documentVersion)
	}
	for _, name := range d.Names {
		if !imagename.IsCanonical(name.Original) || !imagename.IsCanonical(name.Stored) || name.Image == "" {
			return document{}, fmt.Errorf("incomplete name %.300q of image %.100q, stored as %.300q", name.Original, name.Image, name.Stored)
		}
	}
	for _, p := range slices.Concat(d.Hidden, d.Left, d.Asked) {
		if !imagename.IsCanonical(p.Reference) || p.Image == "" {
			return document{}, fmt.Errorf("incomplete reference %.300q on image %.100q", p.Reference, p.Image)
		}
	}
	for _, c := range d.Containers {
		if c.ID == "" || c.Sent == "" {
			return document{}, fmt.Errorf("incomplete container %.100q of image %.300q", c.ID, c.Asked)
		}
	}
	if d.Version == 1 {
		return convert(d.Names, d.Hidden), nil
	}
	return d.document, nil
}

// convert converts a document of version 1. That version recorded every hidden reference
// with its image, and a name for each hidden reference that a client had asked for by its
// own name:
//   - Such a name becomes an asked reference (document.Asked) if its image is the one that
//     the reference is hidden on.
//   - A name was preloaded, not pulled, if its stored reference is not hidden.
//   - A hidden reference becomes a leftover if no name of its image is stored under it.
func convert(names []Entry, hidden []ImageRef) document {
	on := make(map[string]string, len(hidden))
	for _, h := range hidden {
		on[h.Reference] = h.Image
	}
	d := document{Version: documentVersion}
	derived := make(map[ImageRef]bool)
	for _, name := range names {
		image, isHidden := on[name.Stored]
		if name.Original == name.Stored && isHidden && image == name.Image {
			d.Asked = append(d.Asked, ImageRef{Reference: name.Original, Image: name.Image})
			continue
		}
		name.Preloaded = !isHidden && name.Original != name.Stored
		if name.hidesStored() {
			derived[name.stored()] = true
		}
		d.Names = append(d.Names, name)
	}
	for reference, image := range on {
		if p := (ImageRef{Reference: reference, Image: image}); !derived[p] {
			d.Left = append(d.Left, p)
		}
	}
	slices.SortFunc(d.Left, compareRefs)
	return d
}

func compareRefs(a, b ImageRef) int {
	return strings.Compare(a.Reference+" "+a.Image, b.Reference+" "+b.Image)
}

// snapshot returns the document to save and the version of the ledger in it.
func (l *Ledger) snapshot() (document, uint64) {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	d := document{Version: documentVersion, Names: []Entry{}, Left: []ImageRef{}, Asked: []ImageRef{}, Containers: []Container{}}
	// Go image by image, so that the names of an image keep their order.
	for _, image := range slices.Sorted(maps.Keys(l.images)) {
		for _, original := range l.images[image] {
			d.Names = append(d.Names, l.names[original])
		}
	}
	for reference, on := range l.placements {
		for image, p := range on {
			if p.left {
				d.Left = append(d.Left, ImageRef{Reference: reference, Image: image})
			}
			if p.asked {
				d.Asked = append(d.Asked, ImageRef{Reference: reference, Image: image})
			}
		}
	}
	slices.SortFunc(d.Left, compareRefs)
	slices.SortFunc(d.Asked, compareRefs)
	for _, id := range slices.Sorted(maps.Keys(l.containers)) {
		d.Containers = append(d.Containers, l.containers[id])
	}
	return d, l.version
}
