package frames

// controlQueue holds control frames for the client. The pump that reads the client does
// not wait to write them, because the client may itself wait for that pump. It is guarded
// by Relay.mutex.
type controlQueue struct {
	frames  []byte
	writing bool // a goroutine writes them
}

// queueControl queues frames without a header block for the client. It blocks only while
// the client reads nothing and the queue is long.
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

// startControlWriter starts writing the queued control frames once the client has the
// server's SETTINGS. The caller holds the mutex.
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
