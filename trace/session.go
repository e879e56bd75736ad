package trace

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"image-cri-shim/proxy/intercept"
)

const queueLength = 4 << 10 // calls and messages

// session holds the state of a hub while it has readers.
type session struct {
	id          uint64 // counted by the hub, from 1
	names       *nameCache
	processes   processNames
	queue       chan *record
	budget      *budget       // of messages; may be used after the session's end
	dropped     atomic.Int64  // records that did not fit into queue
	bodyReaders atomic.Int64  // readers that want messages
	loaded      chan struct{} // closed once loading the names has ended
	cancel      context.CancelFunc
	workers     sync.WaitGroup

	mutex   sync.Mutex
	readers map[*Reader]bool
	taps    map[uint64]*Tap // of running calls, by call ID
}

// record is a queued event: a finished call or one message of a stream.
type record struct {
	call     Call
	method   *method // nil for a method outside the CRI
	result   Result
	received time.Time // time of the message; zero for a call
	sequence uint64    // of the call in the history, 0 if it is not kept

	request, response message
	decisions         []Decision
}

// message is an encoded message.
type message struct {
	content []byte // nil if not wanted or omitted
	length  int    // of the whole message
	omitted string // why content is missing
}

func newSession(number uint64) *session {
	return &session{
		id:      number,
		budget:  &budget{},
		names:   newNameCache(),
		queue:   make(chan *record, queueLength),
		loaded:  make(chan struct{}),
		readers: make(map[*Reader]bool),
		taps:    make(map[uint64]*Tap),
	}
}

// start starts the workers, which run until end. Canceling ctx, the context of the first
// reader, does not stop them.
func (s *session) start(ctx context.Context, invoke intercept.Invoke) {
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.workers.Go(func() { s.run(ctx) })
	s.workers.Go(func() {
		defer close(s.loaded)
		if invoke != nil {
			_ = s.names.load(ctx, invoke) // without names, IDs are shown
		}
	})
}

// waitForNames waits until loading the names has ended or ctx is done.
func (s *session) waitForNames(ctx context.Context) {
	select {
	case <-s.loaded:
	case <-ctx.Done():
	}
}

// end stops the workers and waits for them.
func (s *session) end() {
	s.cancel()
	s.workers.Wait()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, tap := range s.taps {
		tap.discard()
	}
}

func (s *session) addReader(r *Reader) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.readers[r] = true
	if r.bodies {
		s.bodyReaders.Add(1)
	}
}

// removeReader returns the number of remaining readers.
func (s *session) removeReader(r *Reader) int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.readers, r)
	if r.bodies {
		s.bodyReaders.Add(-1)
	}
	return len(s.readers)
}

func (s *session) beginCall(tap *Tap) {
	tap.call.Client.Name = s.processes.name(tap.call.Client.Process, tap.call.Start)
	s.track(tap)
}

// track registers the tap of a running call until untrack.
func (s *session) track(tap *Tap) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.taps[tap.call.ID] = tap
}

// untrack unregisters and returns the tap of a call, or nil if the call has none.
func (s *session) untrack(call uint64) *Tap {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	tap := s.taps[call]
	delete(s.taps, call)
	return tap
}

func (s *session) findTap(call uint64) *Tap {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.taps[call]
}

// copyMessage returns a copy of a message, without its content if the budget is used up.
func (s *session) copyMessage(content []byte, length int) message {
	if !s.budget.reserve(len(content)) {
		return message{length: length, omitted: overBudget}
	}
	copied := make([]byte, len(content)) // not nil, even if it is empty
	copy(copied, content)
	return message{content: copied, length: length}
}

// enqueue adds a record to the queue. If the queue is full, the record is lost.
func (s *session) enqueue(r *record) {
	select {
	case s.queue <- r:
	default:
		s.release(r)
		s.dropped.Add(1)
	}
}

func (s *session) release(r *record) {
	s.budget.release(len(r.request.content) + len(r.response.content))
}

// run publishes the queued records until ctx is done.
func (s *session) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-s.queue:
			s.publish(r)
			s.release(r)
		}
	}
}

// publish sends a record to the readers with a matching filter.
func (s *session) publish(r *record) {
	p := s.translate(r)
	lost := s.dropped.Swap(0)
	s.mutex.Lock()
	readers := make([]*Reader, 0, len(s.readers))
	for reader := range s.readers {
		readers = append(readers, reader)
	}
	s.mutex.Unlock()
	for _, reader := range readers {
		reader.addLost(lost)
		if r.sequence != 0 && r.sequence <= reader.after {
			continue // the reader has the call from the history
		}
		if reader.filter.Match(&p.event) {
			reader.push(p.line(reader.bodies))
		}
	}
}
