package ledger

import (
	"time"

	"image-cri-shim/rewrite/imagename"
)

// ImageRef is a reference on an image.
type ImageRef struct {
	Reference string `json:"reference"`
	Image     string `json:"image"` // image ID
}

// placement is the record of a reference on an image. The reference is hidden on the image
// if a pull of the shim has stored it there, unless a client has asked for the reference by
// its own name. For example, the pull of nginx:1.25 as hub:5000/library/nginx:1.25 hides
// hub:5000/library/nginx:1.25, until a client pulls hub:5000/library/nginx:1.25 itself.
//
// A reference is also hidden, as a leftover, in these cases, although no name of the image is
// stored under it:
//   - A failed pull has stored the reference on the image.
//   - The name that was stored under the reference now has another stored reference.
//   - The reference is an original, and the runtime has it on an older image than the one
//     that was pulled for it from a registry.
type placement struct {
	names int       // number of names of the image that are stored under the reference
	left  bool      // the reference is a leftover
	asked bool      // a client has asked for the reference by its own name
	at    time.Time // time of the last record
}

func (p placement) wasPut() bool   { return p.names > 0 || p.left }
func (p placement) isHidden() bool { return p.wasPut() && !p.asked }

// WasPulled reports whether the image was pulled under another reference than the original.
func (e Entry) WasPulled() bool { return !e.Preloaded && e.Original != e.Stored }

// YieldsTo reports whether the entry becomes obsolete when the runtime has the image ownID
// under the original itself. The entry of a pulled image stays if this is the same image,
// because containers of the image may show the stored reference.
func (e Entry) YieldsTo(ownID string) bool { return e.Image != ownID || !e.WasPulled() }

// hidesStored reports whether the entry hides its stored reference, because a pull of the
// shim has stored the reference on the image.
func (e Entry) hidesStored() bool { return e.WasPulled() && !e.Lost }

// IsUnstored reports whether the runtime lacks the image under the stored reference. Either
// the image has lost the reference, or a pull has moved the reference to another image:
// hideRef records such a name with Original equal to Stored.
func (e Entry) IsUnstored() bool { return e.Lost || e.Original == e.Stored }

func (e Entry) stored() ImageRef { return ImageRef{Reference: e.Stored, Image: e.Image} }

// IsAsked reports whether a client has asked for a reference on an image by its own name.
func (l *Ledger) IsAsked(reference, image string) bool {
	return l.placement(reference, image).asked
}

// placement returns the record of a reference on an image.
func (l *Ledger) placement(reference, image string) placement {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return l.placements[reference][image]
}

// IsHidden reports whether clients do not see a reference on an image, because a pull of the
// shim has stored it there or is in progress.
func (l *Ledger) IsHidden(reference, image string) bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return l.hides(reference, image)
}

// hides implements IsHidden. The caller holds the mutex.
func (l *Ledger) hides(reference, image string) bool {
	if running := l.pulls[reference]; running != nil {
		return running.visibleOn != image
	}
	return l.placements[reference][image].isHidden()
}

// HiddenOn returns the ID of the image that a reference is hidden on. If several are
// recorded, it returns the latest, because a runtime has a reference on one image only.
func (l *Ledger) HiddenOn(reference string) (image string, ok bool) {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	var at time.Time
	for on, p := range l.placements[reference] {
		if p.isHidden() && (!ok || p.at.After(at)) {
			image, ok, at = on, true, p.at
		}
	}
	return image, ok
}

// The following methods are called with the mutex held.

// setPlacement changes the record of a reference on an image.
func (l *Ledger) setPlacement(on ImageRef, at time.Time, change func(*placement)) {
	p := l.placements[on.Reference][on.Image]
	before := p
	change(&p)
	if p != before {
		l.version++
		l.updateTotals(on.Reference, before, p)
	}
	if at.After(p.at) {
		p.at = at
	}
	if !p.wasPut() && !p.asked {
		delete(l.placements[on.Reference], on.Image)
		if len(l.placements[on.Reference]) == 0 {
			delete(l.placements, on.Reference)
		}
		return
	}
	if l.placements[on.Reference] == nil {
		l.placements[on.Reference] = make(map[string]placement)
	}
	l.placements[on.Reference][on.Image] = p
}

// updateTotals updates placementCount and hiddenHosts when a record changes.
func (l *Ledger) updateTotals(reference string, before, after placement) {
	present := func(p placement) int {
		if p.wasPut() || p.asked {
			return 1
		}
		return 0
	}
	l.placementCount += present(after) - present(before)
	if before.isHidden() == after.isHidden() {
		return
	}
	host := imagename.Host(reference)
	if after.isHidden() {
		l.hiddenHosts[host]++
	} else if l.hiddenHosts[host]--; l.hiddenHosts[host] == 0 {
		delete(l.hiddenHosts, host)
	}
}

// addLeftover records a leftover.
func (l *Ledger) addLeftover(on ImageRef, at time.Time) {
	l.setPlacement(on, at, func(p *placement) { p.left = p.names == 0 })
}

// hide records a leftover that is hidden even if a client has asked for it before.
func (l *Ledger) hide(on ImageRef, at time.Time) {
	l.clearElsewhere(on)
	l.setPlacement(on, at, func(p *placement) { p.left, p.asked = p.names == 0, false })
}

// markAsked records that a client has asked for a reference by its own name.
func (l *Ledger) markAsked(on ImageRef, at time.Time) {
	l.clearElsewhere(on)
	l.setPlacement(on, at, func(p *placement) { p.asked = true })
}

// clearElsewhere drops the leftover and asked records of a reference on images other than
// to.Image, the one that the runtime has it on now. It keeps the counts of names.
func (l *Ledger) clearElsewhere(to ImageRef) {
	for image := range l.placements[to.Reference] {
		if image != to.Image {
			l.setPlacement(ImageRef{Reference: to.Reference, Image: image}, time.Time{}, func(p *placement) { p.left, p.asked = false, false })
		}
	}
}

// markLost records that the runtime has a reference only on the image holder, or on none if
// holder is empty. It marks the names of other images that are stored under the reference
// as lost, except names recorded after at.
func (l *Ledger) markLost(reference, holder string, at time.Time) {
	for image, p := range l.placements[reference] {
		if image == holder || p.names == 0 {
			continue
		}
		for _, original := range l.images[image] {
			if name := l.names[original]; name.Stored == reference && name.hidesStored() && !name.At.After(at) {
				l.version++
				name.Lost = true
				l.unstoredNames++
				l.names[original] = name
				l.setPlacement(name.stored(), time.Time{}, func(p *placement) { p.names-- })
			}
		}
	}
}

// clear drops the leftover and asked records that selected accepts, except those recorded
// after at.
func (l *Ledger) clear(at time.Time, selected func(reference, image string) bool) {
	for reference, on := range l.placements {
		for image, p := range on {
			if !p.at.After(at) && selected(reference, image) {
				l.setPlacement(ImageRef{Reference: reference, Image: image}, time.Time{}, func(p *placement) { p.left, p.asked = false, false })
			}
		}
	}
}
