package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/proxytest"
)

// outcome is everything that the client sees of a call, except for results of races that also
// occur on a direct connection.
type outcome struct {
	Messages        []string
	Header, Trailer metadata.MD
	Code            codes.Code
	Text            string
	Details         []string
	Problem         string // a problem that no call should have
}

func (o outcome) String() string {
	return fmt.Sprintf("messages %v, header %q, trailer %q, %v %q, details %q %s", o.Messages,
		map[string][]string(o.Header), map[string][]string(o.Trailer), o.Code, o.Text, o.Details, o.Problem)
}

func (o *outcome) end(err error) {
	s := status.Convert(err)
	o.Code, o.Text = s.Code(), s.Message()
	for _, detail := range s.Proto().GetDetails() {
		o.Details = append(o.Details, detail.GetTypeUrl()+" "+summary(detail.GetValue()))
	}
}

// call makes the call that a script describes.
func (t target) call(ctx context.Context, connection *grpc.ClientConn, s script, id string) string {
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	if s.GiveUp == atDeadline {
		ctx, cancel = context.WithTimeout(ctx, s.Timeout)
		defer cancel()
	}
	sent := randomMetadata("request", s.Metadata)
	sent.Set(scriptKey, s.String())
	sent.Set(callKey, id)
	ctx = metadata.NewOutgoingContext(ctx, sent)
	begun := make(chan struct{})
	t.begun.Store(id, begun)
	defer t.begun.Delete(id)
	var o outcome
	if s.Unary {
		o = s.invoke(ctx, cancel, connection, begun)
	} else {
		o = s.stream(ctx, cancel, connection, begun)
	}
	switch s.GiveUp {
	case atDeadline:
		o = outcome{Code: o.Code, Messages: o.Messages, Problem: o.Problem}
	case cancelled, flooded:
		o.Trailer, o.Text = nil, ""
	}
	delete(o.Trailer, "content-type") // from an answer with a single header block
	return o.String()
}

func (s script) options() []grpc.CallOption {
	if s.Gzip {
		return []grpc.CallOption{grpc.UseCompressor(gzip.Name)}
	}
	return nil
}

func (s script) invoke(ctx context.Context, cancel func(), connection *grpc.ClientConn, begun <-chan struct{}) (o outcome) {
	if s.GiveUp == cancelled {
		go func() {
			select {
			case <-begun:
			case <-ctx.Done():
			}
			cancel()
		}()
	}
	options := append(s.options(), grpc.Header(&o.Header), grpc.Trailer(&o.Trailer))
	response, err := proxytest.Invoke(ctx, connection, s.Method, cut(s.Requests[0], 0), options...)
	if err == nil {
		o.Messages = append(o.Messages, summary(response))
	}
	if s.GiveUp == cancelled {
		o.Header = nil
	}
	o.end(err)
	return o
}

func (s script) stream(ctx context.Context, cancel func(), connection *grpc.ClientConn, begun <-chan struct{}) (o outcome) {
	stream, err := proxytest.Open(ctx, connection, s.Method, s.options()...)
	if err != nil {
		o.end(err)
		return o
	}
	var sending sync.WaitGroup
	defer sending.Wait()
	turn := make(chan struct{}, 1)
	turn <- struct{}{}
	sending.Go(func() { s.send(ctx, stream, turn) })
	defer cancel() // before waiting for the sender
	for {
		if (s.GiveUp == cancelled || s.GiveUp == flooded) && len(o.Messages) == len(s.Answers) {
			select {
			case <-begun:
			case <-ctx.Done():
				o.Problem = "the runtime was not called"
			}
			break
		}
		message, err := proxytest.Receive(stream)
		if err != nil {
			o.end(ignoreEnd(err))
			o.Header, _ = stream.Header()
			o.Trailer = stream.Trailer()
			return o
		}
		o.Messages = append(o.Messages, summary(message))
		select {
		case turn <- struct{}{}:
		default: // no receiver
		}
	}
	if s.EarlyHeader || len(s.Answers) > 0 || s.GiveUp == flooded {
		if o.Header, err = stream.Header(); err != nil {
			o.Problem = err.Error()
		}
	}
	cancel()
	for err = nil; err == nil; {
		_, err = proxytest.Receive(stream)
	}
	o.end(ignoreEnd(err))
	return o
}

func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// send sends the requests, in turn with the answers if the runtime does so. Its errors mean the
// end of the call, which the receiver sees.
func (s script) send(ctx context.Context, stream grpc.ClientStream, turn <-chan struct{}) {
	for number, size := range s.Requests {
		if s.Read == readEach {
			select {
			case <-turn:
			case <-ctx.Done():
				return
			}
		}
		if proxytest.Send(stream, cut(size, number)) != nil {
			return
		}
	}
	if !s.Open {
		_ = stream.CloseSend()
	}
}
