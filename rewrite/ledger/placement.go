package ledger

import (
	"time"

	"image-cri-shim/rewrite/imagename"
)

// ImageRef is a reference on an image.
type ImageRef struct {
	Reference string `json:"reference"`
	Image     string `json:"image"` // its ID
}

// placement is what the ledger records of a reference on an image. The reference is
// hidden there if the shim's pulls have put it there, for a name that is stored under
// it or as a leftover, unless a client has asked for it by its own name.
//
// A leftover is a reference that a failed pull has put on an image, one whose name is
// stored under another reference since, or an original that the runtime has on an
// older image than the one that it was pulled as later.
type placement struct {
	names int       // of the image that are stored under the reference
	left  bool      // it is a leftover
	asked bool      // a client has asked for it by its own name
	at    time.Time // of the last record
}

func (p placement) wasPut() bool   { return p.names > 0 || p.left }
func (p placement) isHidden() bool { return p.wasPut() && !p.asked }

// WasPulled reports whether the image of a name was pulled as another reference.
func (e Entry) WasPulled() bool { return !e.Preloaded && e.Original != e.Stored }

// YieldsTo reports whether a name means nothing any more once the runtime has an image
// under the name itself. A pulled name of the same image stays: containers of the image may
// show the stored reference.
func (e Entry) YieldsTo(own string) bool { return e.Image != own || !e.WasPulled() }

// hidesStored reports whether the stored reference of a name is to be hidden: a pull of
// the shim has put it on the image for the name.
func (e Entry) hidesStored() bool { return e.WasPulled() && !e.Lost }

// IsUnstored reports whether the runtime does not have the image under the stored reference:
// it has lost it, or it has another image under the name itself, which a pull has put there.
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

// IsHidden reports whether clients do not see a reference on an image: the shim has put
// it there, or a pull in progress has.
func (l *Ledger) IsHidden(reference, image string) bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return l.hides(reference, image)
}

// hides is isHidden with the mutex held.
func (l *Ledger) hides(reference, image string) bool {
	if running := l.pulls[reference]; running != nil {
		return running.visibleOn != image
	}
	return l.placements[reference][image].isHidden()
}

// HiddenOn returns the image that a reference is hidden on. Of several it is the one
// that was recorded last, as a runtime has a reference on one image only.
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

// The following are called with the mutex held.

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

// updateTotals keeps the totals when a record changes.
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

// hide records a leftover that a pull has put on an image, or taken the meaning of.
func (l *Ledger) hide(on ImageRef, at time.Time) {
	l.clearElsewhere(on)
	l.setPlacement(on, at, func(p *placement) { p.left, p.asked = p.names == 0, false })
}

// markAsked records that a client has asked for a reference by its own name.
func (l *Ledger) markAsked(on ImageRef, at time.Time) {
	l.clearElsewhere(on)
	l.setPlacement(on, at, func(p *placement) { p.asked = true })
}

// clearElsewhere drops what is recorded of a reference on other images than the one that the
// runtime has it on now. Names that are stored under the reference keep theirs.
func (l *Ledger) clearElsewhere(to ImageRef) {
	for image := range l.placements[to.Reference] {
		if image != to.Image {
			l.setPlacement(ImageRef{Reference: to.Reference, Image: image}, time.Time{}, func(p *placement) { p.left, p.asked = false, false })
		}
	}
}

// markLost records that the runtime has a reference on one image only, or on none if it is
// empty: names of other images that are stored under it have lost it. It ignores names that
// were recorded after a time.
func (l *Ledger) markLost(reference, on string, at time.Time) {
	for image, p := range l.placements[reference] {
		if image == on || p.names == 0 {
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

// clear drops the leftovers and the asked references that a condition selects and that
// were recorded up to a time.
func (l *Ledger) clear(at time.Time, selected func(reference, image string) bool) {
	for reference, on := range l.placements {
		for image, p := range on {
			if !p.at.After(at) && selected(reference, image) {
				l.setPlacement(ImageRef{Reference: reference, Image: image}, time.Time{}, func(p *placement) { p.left, p.asked = false, false })
			}
		}
	}
}
