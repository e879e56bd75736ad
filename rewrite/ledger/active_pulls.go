package ledger

import (
	"slices"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/rewrite/imagename"
)

// activePulls describes the pulls of one stored reference that are in progress. While they
// run, the reference stays visible on the image that it was visible on before. It is hidden
// on every other image, because only these pulls can have stored that image under it.
type activePulls struct {
	count     int
	visibleOn string     // image ID; empty if the reference was not visible
	asked     []ImageRef // digests of the repository that clients pulled by their own names meanwhile
}

// BeginPull records that a pull of a reference begins. before is the image that the runtime
// has under the reference, or nil. The caller must call EndPull when the pull has ended.
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

// visibleOn returns the ID of the image that a reference stays visible on while a pull of
// the reference is in progress.
func (l *Ledger) visibleOn(reference string) (image string, ok bool) {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	running := l.pulls[reference]
	if running == nil || running.visibleOn == "" {
		return "", false
	}
	return running.visibleOn, true
}

// showWhilePulled makes a reference visible on an image while pulls from its repository are
// in progress. It is called when a client has pulled the reference by its own name.
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

// askedWhilePulled reports whether a client has pulled a digest by its own name during the
// pulls of a stored reference that are in progress.
func (l *Ledger) askedWhilePulled(stored string, digest ImageRef) bool {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	running := l.pulls[stored]
	return running != nil && slices.Contains(running.asked, digest)
}
