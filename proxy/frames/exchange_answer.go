package frames

import (
	"context"
	"slices"

	"golang.org/x/net/http2/hpack"
)

// Header begins the answer. Nothing is sent before Flush or End.
func (x *Exchange) Header(fields []hpack.HeaderField) {
	x.queue = append(x.queue, segment{fields: neverIndexed(fields)})
}

// Data adds to the answer's body, which must not change any more. Where the client's
// windows are too small for the body so far it sends that, and waits for the client to make
// room.
func (x *Exchange) Data(ctx context.Context, data []byte) error {
	if err := x.clientError(); err != nil || len(data) == 0 {
		return err
	}
	x.queue = append(x.queue, segment{data: data})
	r := x.relay
	r.mutex.Lock()
	r.buffered += len(data)
	unsent := 0
	for _, segment := range x.queue {
		unsent += len(segment.data)
	}
	fits := unsent <= x.window.available()
	r.mutex.Unlock()
	if fits {
		return nil
	}
	return x.send(ctx)
}

// Flush sends what there is of the answer.
func (x *Exchange) Flush() error { return x.send(x.ctx) }

// End sends the answer's last fields, and all that was not sent. The exchange is over then.
func (x *Exchange) End(fields []hpack.HeaderField) error {
	r := x.relay
	r.mutex.Lock()
	stop := !x.bodyComplete || x.failure != nil
	r.mutex.Unlock()
	x.queue = append(x.queue, segment{fields: neverIndexed(fields), end: true, resetAfter: stop, withCredit: true})
	err := x.send(context.Background()) // the client's reset ends it, or the connection's end
	r.mutex.Lock()
	defer r.mutex.Unlock()
	x.answerSent = true
	x.remove()
	return err
}

// send writes the queue, and waits for the client to make room for it. Data that is not
// sent in time is dropped.
func (x *Exchange) send(ctx context.Context) error {
	r := x.relay
	for {
		err := x.clientError()
		if err == nil {
			_, err = r.writeQueue(x.id, &x.queue, &x.window)
		}
		if err == nil && len(x.queue) > 0 {
			err = x.awaitRoom(ctx)
		}
		if err != nil {
			x.dropData()
		}
		if err != nil || len(x.queue) == 0 {
			return err
		}
	}
}

// clientError returns the reason why the client gets no answer; nil if it gets one.
func (x *Exchange) clientError() error {
	r := x.relay
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.failure != nil {
		return r.failure
	}
	if x.failure == errClientReset {
		return x.failure
	}
	return nil
}

// awaitRoom waits until the first segment of the queue can be written, or the client gets
// no answer.
func (x *Exchange) awaitRoom(ctx context.Context) error {
	r := x.relay
	defer context.AfterFunc(ctx, r.wake)()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for !x.queue[0].hasRoom(&x.window) && r.failure == nil && x.failure != errClientReset {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.changed.Wait()
	}
	return nil
}

// dropData removes the data from the queue.
func (x *Exchange) dropData() {
	r := x.relay
	r.mutex.Lock()
	defer r.mutex.Unlock()
	x.queue = slices.DeleteFunc(x.queue, func(s segment) bool {
		r.dropSegment(s)
		return len(s.data) > 0
	})
}

// neverIndexed returns fields that no receiver may put into a table.
func neverIndexed(fields []hpack.HeaderField) []hpack.HeaderField {
	marked := slices.Clone(fields)
	for i := range marked {
		marked[i].Sensitive = true
	}
	return marked
}
