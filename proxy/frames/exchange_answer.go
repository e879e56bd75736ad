package frames

import (
	"context"
	"slices"

	"golang.org/x/net/http2/hpack"
)

// Header adds the first header block of the answer. It is sent with the next DATA that does
// not fit into the client's windows, or by Flush or End.
func (x *Exchange) Header(fields []hpack.HeaderField) {
	x.queue = append(x.queue, segment{fields: neverIndexed(fields)})
}

// Data appends data to the body of the answer. The caller must not modify data afterwards.
// If the unsent body no longer fits into the client's windows, Data sends it and waits until
// the client has granted credit for all of it.
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

// Flush sends the queued part of the answer.
func (x *Exchange) Flush() error { return x.send(x.ctx) }

// End sends the queued part of the answer and the header block that ends it. No other method
// may be called afterwards.
func (x *Exchange) End(fields []hpack.HeaderField) error {
	r := x.relay
	r.mutex.Lock()
	stop := !x.bodyComplete || x.failure != nil
	r.mutex.Unlock()
	x.queue = append(x.queue, segment{fields: neverIndexed(fields), end: true, resetAfter: stop, withCredit: true})
	err := x.send(context.Background()) // ends at the latest with the stream or the connection
	r.mutex.Lock()
	defer r.mutex.Unlock()
	x.answerSent = true
	x.remove()
	return err
}

// send writes the queue, and waits for the client to grant credit for all of it. If it fails,
// for example because ctx is done, it drops the unsent data.
func (x *Exchange) send(ctx context.Context) error {
	r := x.relay
	for {
		err := x.clientError()
		if err == nil {
			_, err = r.writeQueue(x.id, &x.queue, &x.window, nil)
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

// clientError returns the error of the connection or of a reset by the client. It returns nil
// if the client can still receive the answer.
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

// awaitRoom waits until the first segment of the queue can be written, or until the client
// resets the stream or the connection ends. Its error is that of ctx.
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

// neverIndexed returns fields marked as never indexed (RFC 7541, 6.2.3).
func neverIndexed(fields []hpack.HeaderField) []hpack.HeaderField {
	marked := slices.Clone(fields)
	for i := range marked {
		marked[i].Sensitive = true
	}
	return marked
}
