package ledger

import (
	"maps"
	"slices"
	"time"
)

// The following methods are called with the mutex held. They increase the version for each
// change.

// setName records the image that a name means.
func (l *Ledger) setName(name Entry) {
	old, known := l.names[name.Original]
	if known && (old.Image != name.Image || old.Stored != name.Stored || old.Preloaded != name.Preloaded || old.Lost != name.Lost) {
		l.removeName(old.Original)
		if old.Stored != name.Stored && old.hidesStored() {
			l.addLeftover(ImageRef{Reference: old.Stored, Image: old.Image}, name.At)
		}
		known = false
	}
	l.version++
	l.names[name.Original] = name
	if !known && name.IsUnstored() {
		l.unstoredNames++
	}
	if !known {
		l.images[name.Image] = append(l.images[name.Image], name.Original)
		if name.hidesStored() {
			l.setPlacement(name.stored(), name.At, func(p *placement) { p.names, p.left = p.names+1, false })
		}
	}
	if name.hidesStored() {
		l.clearElsewhere(name.stored())
		l.setPlacement(name.stored(), name.At, func(p *placement) { p.asked = false })
	}
}

// removeName drops a name.
func (l *Ledger) removeName(original string) {
	old, ok := l.names[original]
	if !ok {
		return
	}
	l.version++
	delete(l.names, original)
	l.images[old.Image] = slices.DeleteFunc(l.images[old.Image], func(o string) bool { return o == original })
	if len(l.images[old.Image]) == 0 {
		delete(l.images, old.Image)
	}
	if old.IsUnstored() {
		l.unstoredNames--
	}
	if old.hidesStored() {
		l.setPlacement(old.stored(), time.Time{}, func(p *placement) { p.names-- })
	}
}

// evict keeps the ledger within its limits. It drops whole images, starting with those that
// have gone longest without a new name, until a tenth of the limit is free. It also drops all
// references recorded for images without a name. Clients see such an image under the
// runtime's names until they ask for it again.
func (l *Ledger) evict() {
	l.evictContainers()
	if len(l.names) <= l.limit && l.placementCount <= 2*l.limit {
		return
	}
	newest := func(image string) time.Time {
		var at time.Time
		for _, original := range l.images[image] {
			if named := l.names[original].At; named.After(at) {
				at = named
			}
		}
		return at
	}
	for _, image := range slices.SortedFunc(maps.Keys(l.images), func(a, b string) int { return newest(a).Compare(newest(b)) }) {
		if len(l.names) <= l.limit*9/10 {
			break
		}
		for _, original := range slices.Clone(l.images[image]) {
			l.removeName(original)
		}
	}
	l.clear(time.Now(), func(_, image string) bool { return len(l.images[image]) == 0 })
}
