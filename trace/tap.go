package trace

import (
	"sync"
	"time"
)

// maxBodyBytes limits messages that are decoded to be shown. maxSubjectBytes limits messages
// that are decoded only to find the subject of the call.
const (
	maxBodyBytes    = 1 << 20
	maxSubjectBytes = 256 << 10
)

// Tap receives the messages of one call. Its methods are safe for concurrent use.
type Tap struct {
	hub       *Hub
	sessionID uint64 // ID of the session in which the call began, 0 for none; a pointer would keep an ended session in memory
	call      Call
	method    *method // nil for a method outside the CRI
	streaming bool    // each message of the response is an event

	mutex             sync.Mutex
	request, response message
	reserved          [2]reservation // by sideIndex, for messages being received
	decisions         []Decision
	ended, discarded  bool // the call ended; its session ended
}

// reservation is the part of a budget for a message that is being received.
type reservation struct {
	budget *budget
	bytes  int
}

// currentSession returns the session that the call belongs to, or nil. An unbounded stream
// also belongs to sessions that start after it.
func (t *Tap) currentSession() *session {
	s := t.hub.session.Load()
	if s != nil && s.id != t.sessionID && !t.hub.unbounded[t.call.Method] {
		return nil
	}
	return s
}

// Wants returns how many bytes of a message with the given length Message must receive, 0
// for none.
func (t *Tap) Wants(fromClient bool, length int) int {
	s := t.currentSession()
	if s == nil {
		return 0
	}
	bodies := s.bodyReaders.Load() > 0
	m := message{length: length}
	switch {
	case t.method == nil:
		m.omitted = "not a CRI method"
	case length == 0:
		m.content = []byte{}
	case bodies && length > maxBodyBytes:
		m.omitted = "too long"
	case bodies, (fromClient || t.method.hasNamesInResponse()) && length <= maxSubjectBytes:
		if t.reserve(s, fromClient, length) {
			return length
		}
		m.omitted = overBudget
	}
	t.keep(s, fromClient, m)
	return 0
}

// Message receives the wanted bytes of a message. It does not retain content.
func (t *Tap) Message(fromClient bool, content []byte, length int, compressed bool) {
	t.release(fromClient)
	s := t.currentSession()
	switch {
	case s == nil:
	case compressed:
		t.keep(s, fromClient, message{length: length, omitted: "compressed"})
	case len(content) < length:
		t.keep(s, fromClient, message{length: length, omitted: "too long"})
	default:
		t.keep(s, fromClient, s.copyMessage(content, length))
	}
}

// reserve reserves the budget for a message until it is received or the call ends.
func (t *Tap) reserve(s *session, fromClient bool, length int) bool {
	if s.id != t.sessionID {
		s.track(t) // to release the reservation at the call's end
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.ended || !s.budget.reserve(length) {
		return false
	}
	t.reserved[sideIndex(fromClient)] = reservation{s.budget, length}
	return true
}

func (t *Tap) release(fromClient bool) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.reserved[sideIndex(fromClient)].release()
}

func (r *reservation) release() {
	if r.budget != nil {
		r.budget.release(r.bytes)
	}
	*r = reservation{}
}

func sideIndex(fromClient bool) int {
	if fromClient {
		return 0
	}
	return 1
}

// keep stores a message until the call ends, or enqueues it if each message is an event.
func (t *Tap) keep(s *session, fromClient bool, m message) {
	if t.streaming && !fromClient {
		s.enqueue(&record{call: t.call, method: t.method, received: time.Now(), response: m})
		return
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	kept := &t.response
	if fromClient {
		kept = &t.request
	}
	if t.ended || t.discarded || kept.content != nil || s.id != t.sessionID {
		s.budget.release(len(m.content))
		return // the call or its session has ended, or a message of this side is stored already
	}
	*kept = m
}

func (t *Tap) addDecision(decision Decision) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if len(t.decisions) < maxImages {
		t.decisions = append(t.decisions, decision)
	}
}

// finish moves the messages and decisions of the ended call to r.
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

// discard drops the messages and decisions of the call because its session ended.
func (t *Tap) discard() {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.discarded = true
	t.request, t.response, t.decisions = message{}, message{}, nil
}
