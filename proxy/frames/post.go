package frames

// posts are frames for the client that the pump of its requests does not wait to write:
// the client may be waiting for that pump itself. They are guarded by the relay's mutex.
type posts struct {
	posted  []byte
	posting bool // a goroutine writes them
}

// post writes frames without a header block to the client, soon. It waits only while
// the client reads nothing of very many.
func (r *Relay) post(frames []byte) {
	if len(frames) == 0 {
		return
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for len(r.posted) > bufferMax && r.failure == nil {
		r.changed.Wait()
	}
	r.posted = append(r.posted, frames...)
	r.startPosting()
}

// startPosting has the posted frames written once the client has the server's SETTINGS.
// The caller holds the mutex.
func (r *Relay) startPosting() {
	if r.posting || len(r.posted) == 0 || !r.settled.Load() || r.failure != nil {
		return
	}
	r.posting = true
	r.handlers.Go(r.writePosted)
}

func (r *Relay) writePosted() {
	for {
		r.mutex.Lock()
		frames := r.posted
		r.posted = nil
		r.posting = len(frames) > 0
		r.changed.Broadcast()
		r.mutex.Unlock()
		if len(frames) == 0 {
			return
		}
		if r.writeClient(frames) != nil {
			r.fail(nil)
		}
	}
}
