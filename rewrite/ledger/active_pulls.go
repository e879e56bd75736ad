package ledger

import (
	"slices"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/imagename"
)

// activePulls are the pulls of a stored reference that are in progress. They hide the
// reference on every image but the one that it was visible on before them: any other
// image under it is one that they have brought.
type activePulls struct {
	count     int
	visibleOn string     // image ID; empty if the reference was not visible
	asked     []ImageRef // digests of the repository that clients have asked for meanwhile
}

// BeginPull records that a pull of a reference begins. before is the image that the runtime
// has under it, nil if none. Each call must be followed by a call of endPull.
func (l *Ledger) BeginPull(reference string, before *runtime.Image) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	running := l.pulls[reference]
	if running == nil {
		running = &activePulls{}
		if before != nil && imagename.Has(before, reference) && !l.hides(reference, before.Id) {
			running.visibleOn = before.Id
		}
		l.pulls[reference] = running
	}
	running.count++
}

// EndPull records that a pull of the reference has ended.
func (l *Ledger) EndPull(reference string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	running := l.pulls[reference]
	if running.count--; running.count == 0 {
		delete(l.pulls, reference)
	}
}

// IsPulling reports whether a pull of the reference is in progress.
func (l *Ledger) IsPulling(reference string) bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	return l.pulls[reference] != nil
}

// visibleOn returns the image that a reference stays visible on while it is pulled.
func (l *Ledger) visibleOn(reference string) (image string, ok bool) {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	running := l.pulls[reference]
	if running == nil || running.visibleOn == "" {
		return "", false
	}
	return running.visibleOn, true
}

// showWhilePulled makes a reference visible on an image while pulls of its repository are
// in progress: a client has asked for it by its own name.
func (l *Ledger) showWhilePulled(asked ImageRef) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for reference, running := range l.pulls {
		switch {
		case reference == asked.Reference:
			running.visibleOn = asked.Image
		case imagename.Repository(reference) == imagename.Repository(asked.Reference):
			running.asked = append(running.asked, asked)
		}
	}
}

// askedWhilePulled reports whether a client has asked for a digest by its own name while
// a stored reference is pulled.
func (l *Ledger) askedWhilePulled(stored string, digest ImageRef) bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	running := l.pulls[stored]
	return running != nil && slices.Contains(running.asked, digest)
}
