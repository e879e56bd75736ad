package frames

// controlQueue holds control frames for the client, which a goroutine writes. The loop that
// reads the client must not block on this write, because the client may itself be blocked
// writing to that loop. controlQueue is guarded by Relay.mutex.
type controlQueue struct {
	frames  []byte
	writing bool // the goroutine runs
}

// queueControl queues frames for the client. They must not contain a header block. It blocks
// only while more than bufferMax bytes are queued.
func (r *Relay) queueControl(frames []byte) {
	if len(frames) == 0 {
		return
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for len(r.control.frames) > bufferMax && r.failure == nil {
		r.changed.Wait()
	}
	r.control.frames = append(r.control.frames, frames...)
	r.startControlWriter()
}

// startControlWriter starts the goroutine that writes the queue, if it does not run and the
// client has the server's SETTINGS. The caller holds the mutex.
func (r *Relay) startControlWriter() {
	if r.control.writing || len(r.control.frames) == 0 || !r.serverSettingsSent.Load() || r.failure != nil {
		return
	}
	r.control.writing = true
	r.handlers.Go(r.writeControlQueue)
}

func (r *Relay) writeControlQueue() {
	for {
		r.mutex.Lock()
		frames := r.control.frames
		r.control.frames = nil
		r.control.writing = len(frames) > 0
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
