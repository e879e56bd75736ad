package trace

import (
	"sync"
	"time"
)

// longestBody bounds the messages that are decoded, longestNaming those that are
// decoded for their names only, in bytes.
const (
	longestBody   = 1 << 20
	longestNaming = 256 << 10
)

// Tap looks at the messages of one call. Its methods are safe for concurrent use.
type Tap struct {
	hub     *Hub
	began   uint64 // the session that it began in, by number: one that is over is not to be held; 0 if nobody read
	call    Call
	method  *method // nil where it is none of the CRI's
	streams bool    // each message of the answer is an event

	mutex             sync.Mutex
	request, response message
	reserved          [2]reservation // for a message on its way, of the client's and of the runtime's
	decisions         []Decision
	ended, forgotten  bool // of its call, of the session that it began in
}

// reservation is room for a message that is not there as a whole yet.
type reservation struct {
	room  *room
	bytes int
}

// current is the session that may still want something of the call. One that streams
// may outlive the session that it began in.
func (t *Tap) current() *session {
	s := t.hub.session.Load()
	if s != nil && s.number != t.began && !t.hub.endless[t.call.Method] {
		return nil
	}
	return s
}

// Wants tells how many bytes of a message are wanted, 0 for none, of its whole length.
func (t *Tap) Wants(fromClient bool, length int) int {
	s := t.current()
	if s == nil {
		return 0
	}
	bodies := s.bodies.Load() > 0
	m := message{length: length}
	switch {
	case t.method == nil:
		m.problem = "its method is none of the CRI's"
	case length == 0:
		m.content = []byte{}
	case bodies && length > longestBody:
		m.problem = "it is too long"
	case bodies, (fromClient || t.method.answersName()) && length <= longestNaming:
		if t.reserve(s, fromClient, length) {
			return length
		}
		m.problem = crowded
	}
	t.take(s, fromClient, m)
	return 0
}

// Message is given a message that is wanted, as far as it is. It copies what it keeps.
func (t *Tap) Message(fromClient bool, content []byte, length int, compressed bool) {
	t.release(fromClient)
	s := t.current()
	switch {
	case s == nil:
	case compressed:
		t.take(s, fromClient, message{length: length, problem: "it is compressed"})
	case len(content) < length:
		t.take(s, fromClient, message{length: length, problem: "it is too long"})
	default:
		t.take(s, fromClient, s.hold(content, length))
	}
}

// reserve takes room for a message that is about to come, until it is there or the call
// has ended.
func (t *Tap) reserve(s *session, fromClient bool, length int) bool {
	if s.number != t.began {
		s.watch(t) // so that it is told of the end
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.ended || !s.room.take(length) {
		return false
	}
	t.reserved[side(fromClient)] = reservation{s.room, length}
	return true
}

func (t *Tap) release(fromClient bool) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.reserved[side(fromClient)].release()
}

func (r *reservation) release() {
	if r.room != nil {
		r.room.free(r.bytes)
	}
	*r = reservation{}
}

func side(fromClient bool) int {
	if fromClient {
		return 0
	}
	return 1
}

// take keeps a message until the call ends, or tells of it where each is an event.
func (t *Tap) take(s *session, fromClient bool, m message) {
	if t.streams && !fromClient {
		s.offer(&record{call: t.call, method: t.method, at: time.Now(), response: m})
		return
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	kept := &t.response
	if fromClient {
		kept = &t.request
	}
	if t.ended || t.forgotten || kept.content != nil || s.number != t.began {
		s.room.free(len(m.content))
		return // late, or one of many: the first is the one that counts
	}
	*kept = m
}

func (t *Tap) decide(decision Decision) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if len(t.decisions) < mostImages {
		t.decisions = append(t.decisions, decision)
	}
}

// finish gives a record what was seen of the call.
func (t *Tap) finish(r *record) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.ended = true
	for i := range t.reserved {
		t.reserved[i].release()
	}
	r.call.Client.Name = t.call.Client.Name
	r.request, r.response, r.decisions = t.request, t.response, t.decisions
}

// forget drops what was seen of the call, because the session that it began in is over.
func (t *Tap) forget() {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.forgotten = true
	t.request, t.response, t.decisions = message{}, message{}, nil
}
