package frames

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// clientWriter writes whole frames to the client, from any goroutine.
type clientWriter struct {
	mutex       sync.Mutex  // guards the connection's writes and the fields below; locked before Relay.mutex
	tableUpdate tableUpdate // for the next header block that the relay encodes
	buffer      []byte      // reused by writeQueue
}

// serverWriter writes whole frames to the server, from any goroutine.
type serverWriter struct {
	mutex  sync.Mutex  // guards the connection's writes; Relay.mutex is never locked while it is held
	failed atomic.Bool // the server accepts no more frames
}

// write writes frames of the relay itself.
func (w *clientWriter) write(to net.Conn, frames []byte) error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.writeLocked(to, frames)
}

// writeLocked is like write. The caller holds the mutex.
func (w *clientWriter) writeLocked(to net.Conn, frames []byte) error {
	if w.tableUpdate.due {
		var inserted bool
		if frames, inserted = insertTableUpdate(frames, w.tableUpdate); inserted {
			w.tableUpdate.due = false
		}
	}
	_, err := to.Write(frames)
	return err
}

// writeBatch writes frames of the server. The next header block of the relay must begin with
// update.
func (w *clientWriter) writeBatch(to net.Conn, frames []byte, update tableUpdate) error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.tableUpdate = update
	_, err := to.Write(frames)
	return err
}

// injectedMaxFrame is the maximum payload of the frames of an injected header block, in bytes.
// It leaves room for a dynamic table size update.
const injectedMaxFrame = defaultMaxFrame - 16

// insertTableUpdate inserts a size update at the beginning of the first header block in
// frames. It reports false if there is no header block.
func insertTableUpdate(frames []byte, update tableUpdate) ([]byte, bool) {
	for at := 0; at < len(frames); {
		h := parseHeader(frames[at:])
		if h.kind != http2.FrameHeaders {
			at += headerLength + h.length
			continue
		}
		encoded := update.append(nil)
		block := at + headerLength
		changed := append([]byte(nil), frames[:block]...)
		changed = append(changed, encoded...)
		changed = append(changed, frames[block:]...)
		h.length += len(encoded)
		h.put(changed[at:])
		return changed, true
	}
	return frames, false
}

// writeClient writes whole frames of the relay itself to the client.
func (r *Relay) writeClient(frames []byte) error {
	if len(frames) == 0 {
		return nil
	}
	return r.clientWriter.write(r.client, frames)
}

// inject writes frames of the relay itself to the client, after the server's SETTINGS.
func (r *Relay) inject(frames []byte) error {
	r.awaitServerSettings()
	return r.writeClient(frames)
}

// awaitServerSettings waits until the server's SETTINGS have been written to the client or the
// connection has ended. SETTINGS must be the first frame (RFC 9113, 3.4).
func (r *Relay) awaitServerSettings() {
	if r.serverSettingsSent.Load() {
		return
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for !r.serverSettingsSent.Load() && r.failure == nil {
		r.changed.Wait()
	}
}

// noteServerSettings is called when the server's first frames have been written to the client.
// It starts writing the frames that waited for them. If Drain has been called, it sends the
// first GOAWAY.
func (r *Relay) noteServerSettings() {
	r.mutex.Lock()
	r.phase = framed
	r.serverSettingsSent.Store(true)
	asked := r.drain.requested
	r.startControlWriter()
	r.changed.Broadcast()
	r.mutex.Unlock()
	if asked {
		r.sendFirstGoAway()
	}
}

// writeServer writes whole frames to the server. After a failed write, the relay still reads
// the frames that the server has already sent, for at most closeTimeout.
func (r *Relay) writeServer(frames []byte) {
	if len(frames) == 0 || r.serverWriter.failed.Load() {
		return
	}
	r.serverWriter.mutex.Lock()
	defer r.serverWriter.mutex.Unlock()
	if _, err := r.server.Write(frames); err != nil && !r.serverWriter.failed.Swap(true) {
		_ = r.server.SetReadDeadline(time.Now().Add(closeTimeout))
	}
}
