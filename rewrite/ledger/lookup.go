package ledger

import (
	"bytes"
	"maps"
	"slices"

	"image-cri-shim/rewrite/imagename"
)

// Len returns the number of image names in the ledger.
func (l *Ledger) Len() int {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return len(l.names)
}

// Lookup returns the entry of an original reference.
func (l *Ledger) Lookup(original string) (Entry, bool) {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	name, ok := l.names[original]
	return name, ok
}

// NamesOf returns the names of an image, in the order of recording.
func (l *Ledger) NamesOf(image string) []Entry {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	originals := l.images[image]
	names := make([]Entry, len(originals))
	for i, original := range originals {
		names[i] = l.names[original]
	}
	return names
}

// ImageIDs returns the IDs of the images that have names or hidden references.
func (l *Ledger) ImageIDs() []string {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	images := slices.Collect(maps.Keys(l.images))
	for _, on := range l.placements {
		for image, p := range on {
			if p.isHidden() {
				images = append(images, image)
			}
		}
	}
	slices.Sort(images)
	return slices.Compact(images)
}

// HidesAny reports whether any reference is hidden on an image.
func (l *Ledger) HidesAny(image string) bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	for _, on := range l.placements {
		if on[image].isHidden() {
			return true
		}
	}
	return false
}

// NeedsStored reports whether an image has names, other than original, that pulls have
// stored under reference.
func (l *Ledger) NeedsStored(reference, image, original string) bool {
	return slices.ContainsFunc(l.NamesOf(image), func(name Entry) bool {
		return name.Original != original && name.Stored == reference && name.hidesStored()
	})
}

// IsShared reports whether several names of an image share a stored reference.
func (l *Ledger) IsShared(image string) bool {
	seen := make(map[string]bool)
	for _, name := range l.NamesOf(image) {
		if seen[name.Stored] && name.hidesStored() {
			return true
		}
		seen[name.Stored] = true
	}
	return false
}

// MayRestore reports whether an answer of the runtime may need a change. Records of
// references that clients have asked for by their own names change no answer.
func (l *Ledger) MayRestore() bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return len(l.names) > 0 || len(l.hiddenHosts) > 0 || len(l.pulls) > 0 || len(l.containers) > 0
}

// HasNames reports whether the ledger has names of images or hides references. Unlike
// MayRestore, it ignores containers.
func (l *Ledger) HasNames() bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return len(l.names) > 0 || len(l.hiddenHosts) > 0 || len(l.pulls) > 0
}

// IsEmpty reports whether the ledger has no records of images.
func (l *Ledger) IsEmpty() bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return len(l.names) == 0 && len(l.placements) == 0 && len(l.pulls) == 0
}

// Mentions reports whether an encoded message may need a change: the host of a hidden
// reference occurs in it, or the runtime lacks the stored reference of a name. It does not
// decode the message.
func (l *Ledger) Mentions(message []byte) bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	for host := range l.hiddenHosts {
		if bytes.Contains(message, []byte(host)) {
			return true
		}
	}
	if l.unstoredNames > 0 {
		return true // the message may show such an image without the host
	}
	for reference := range l.pulls {
		if bytes.Contains(message, []byte(imagename.Host(reference))) {
			return true
		}
	}
	return false
}
