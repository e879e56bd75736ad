package frames

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// Requests to a server that does not read end with their contexts. Once the server reads
// again, it gets all frames that were sent meanwhile.
func TestClientHungServer(t *testing.T) {
	r := newClientFixture(t)
	first := r.do(t.Context(), "/first", "")
	s := r.server()
	s.expectRequest(1, "/first", true)
	s.answer(1, "first")
	r.expectAll(first, "first")
	var running sync.WaitGroup
	for range 1000 {
		running.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if a := <-r.do(ctx, "/hung", "body"); !errors.Is(a.err, context.DeadlineExceeded) {
				t.Errorf("the error is %v", a.err)
			}
		})
	}
	ended := make(chan struct{})
	go func() { running.Wait(); close(ended) }()
	await(t, "the end of all requests", ended)
	next := r.do(t.Context(), "/next", "")
	for {
		f, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		headers, ok := f.(*http2.HeadersFrame)
		if !ok {
			continue
		}
		fields, err := s.decoder.DecodeFull(headers.HeaderBlockFragment())
		if err != nil {
			t.Fatal(err)
		}
		if Field(fields, ":path") == "/next" {
			s.answer(headers.StreamID, "next")
			break
		}
	}
	r.expectAll(next, "next")
	if len(r.servers) > 0 {
		t.Errorf("%d more connections were opened", len(r.servers))
	}
}
