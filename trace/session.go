package trace

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"image-cri-shim/proxy/intercept"
)

const mostWaiting = 4 << 10 // calls and messages that wait to be told

// session is all that there is because somebody reads; it is gone with the last reader.
type session struct {
	number    uint64 // of the hub's sessions, from 1
	names     *names
	processes processes
	intake    chan *record
	room      *room         // of messages; what is taken of it may be freed after the session
	lost      atomic.Int64  // records that intake had no room for
	bodies    atomic.Int64  // readers who want messages
	learned   chan struct{} // closed when the names of what is there are known, or can't be had
	stop      context.CancelFunc
	working   sync.WaitGroup

	mutex   sync.Mutex
	readers map[*Reader]bool
	taps    map[uint64]*Tap // of the calls that run, by their ID
}

// record is what waits to be told: a call that has ended, or a message.
type record struct {
	call   Call
	method *method // nil where it is none of the CRI's
	ending Ending
	at     time.Time // when the message came; zero for a call

	request, response message
	decisions         []Decision
}

// message is a message as it came.
type message struct {
	content []byte // nil where it is not wanted or was not to be had
	length  int    // of all
	problem string // why there is no content
}

func newSession(number uint64) *session {
	return &session{
		number:  number,
		room:    &room{},
		names:   newNames(),
		intake:  make(chan *record, mostWaiting),
		learned: make(chan struct{}),
		readers: make(map[*Reader]bool),
		taps:    make(map[uint64]*Tap),
	}
}

// start begins to work, until end. What ctx, the first reader's, is done with is not.
func (s *session) start(ctx context.Context, invoke intercept.Invoke) {
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.working.Go(func() { s.work(ctx) })
	s.working.Go(func() {
		defer close(s.learned)
		if invoke != nil {
			_ = s.names.learn(ctx, invoke) // IDs are shown instead
		}
	})
}

// end returns when nothing is at work any more.
func (s *session) end() {
	s.stop()
	s.working.Wait()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, tap := range s.taps {
		tap.forget()
	}
}

func (s *session) add(r *Reader) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.readers[r] = true
	if r.bodies {
		s.bodies.Add(1)
	}
}

// remove returns how many readers are left.
func (s *session) remove(r *Reader) int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.readers, r)
	if r.bodies {
		s.bodies.Add(-1)
	}
	return len(s.readers)
}

func (s *session) begin(tap *Tap) {
	tap.call.Client.Name = s.processes.name(tap.call.Client.Process, tap.call.Start)
	s.watch(tap)
}

// watch notes what looks at a call until that has ended.
func (s *session) watch(tap *Tap) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.taps[tap.call.ID] = tap
}

// ended returns what has looked at a call since it began, nil if nothing has.
func (s *session) ended(call uint64) *Tap {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	tap := s.taps[call]
	delete(s.taps, call)
	return tap
}

func (s *session) running(call uint64) *Tap {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.taps[call]
}

// hold copies a message while there is room for it.
func (s *session) hold(content []byte, length int) message {
	if !s.room.take(len(content)) {
		return message{length: length, problem: crowded}
	}
	copied := make([]byte, len(content)) // not nil, even if it is empty
	copy(copied, content)
	return message{content: copied, length: length}
}

// offer gives a record to be told; one that there is no room for is lost.
func (s *session) offer(r *record) {
	select {
	case s.intake <- r:
	default:
		s.drop(r)
		s.lost.Add(1)
	}
}

func (s *session) drop(r *record) {
	s.room.free(len(r.request.content) + len(r.response.content))
}

// work tells the readers, one record after the other, until the last one has gone.
func (s *session) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-s.intake:
			s.tell(r)
			s.drop(r)
		}
	}
}

func (s *session) tell(r *record) {
	t := s.translate(r)
	lost := s.lost.Swap(0)
	s.mutex.Lock()
	readers := make([]*Reader, 0, len(s.readers))
	for reader := range s.readers {
		readers = append(readers, reader)
	}
	s.mutex.Unlock()
	for _, reader := range readers {
		reader.lose(lost)
		if reader.filter.Match(&t.event) {
			reader.push(t.line(reader.bodies))
		}
	}
}
