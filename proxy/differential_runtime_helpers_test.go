package proxy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy/intercept"
	"image-cri-shim/proxy/proxytest"
)

// scriptKey and callKey are metadata keys of each call, for its script and its number.
const scriptKey, callKey = "script-bin", "call"

// content is the source of all messages of the differential test.
var content = sync.OnceValue(func() []byte { return noise(16 << 20) })

func cut(size, number int) []byte {
	from := number * 4001 % (8 << 20)
	return content()[from : from+size : from+size]
}

// asked and answered are the changes of the interceptors to a request and to an answer.
func asked(message []byte) []byte    { return append([]byte("asked "), message...) }
func answered(message []byte) []byte { return append([]byte("answered "), message...) }

// answerLocally is an interceptor that does not call the runtime.
func answerLocally(request []byte) ([]byte, error) {
	if len(request)%2 == 1 {
		return nil, detailedStatus(codes.NotFound, fmt.Sprintf("no image in %d bytes", len(request))).Err()
	}
	return answered(request), nil
}

// intercepting are the interceptors of the engines.
var intercepting = intercept.Interceptors{
	Unary: map[string]intercept.Unary{
		unaryMethod: func(ctx context.Context, request []byte, invoke intercept.Invoke) ([]byte, error) {
			response, err := invoke(ctx, unaryMethod, asked(request))
			if err != nil {
				return nil, err
			}
			return answered(response), nil
		},
		localMethod: func(_ context.Context, request []byte, _ intercept.Invoke) ([]byte, error) {
			return answerLocally(request)
		},
	},
	Stream: map[string]intercept.Stream{
		streamMethod: func(_ context.Context, request []byte, _ intercept.Invoke) ([]byte, intercept.Transform, error) {
			return asked(request), func(message []byte) ([]byte, error) { return answered(message), nil }, nil
		},
	},
}

// rewritingStream changes messages as the interceptors do, for direct calls.
type rewritingStream struct{ grpc.ServerStream }

func (c rewritingStream) RecvMsg(message any) error {
	err := c.ServerStream.RecvMsg(message)
	if data, ok := message.(*[]byte); ok && err == nil {
		*data = asked(*data)
	}
	return err
}

func (c rewritingStream) SendMsg(message any) error {
	data, ok := message.(*[]byte)
	if !ok {
		return fmt.Errorf("can't change a %T", message)
	}
	changed := answered(*data)
	return c.ServerStream.SendMsg(&changed)
}

// fakeRuntime answers the calls of one target according to their scripts.
type fakeRuntime struct {
	begun sync.Map // by call: closed when the call reaches the runtime
}

func (r *fakeRuntime) handle(runtime *proxytest.Runtime, direct bool) {
	answer := func(stream grpc.ServerStream) error {
		err := r.answer(stream)
		if ended := stream.Context().Err(); ended != nil {
			return status.FromContextError(ended).Err()
		}
		return err
	}
	for _, method := range []string{plainMethod, unaryMethod, streamMethod} {
		runtime.Handle(method, answer)
	}
	if direct {
		for _, method := range []string{unaryMethod, streamMethod} {
			runtime.Handle(method, func(stream grpc.ServerStream) error { return answer(rewritingStream{stream}) })
		}
		runtime.Handle(localMethod, func(stream grpc.ServerStream) error {
			request, err := proxytest.Receive(stream)
			if err != nil {
				return err
			}
			response, err := answerLocally(request)
			if err != nil {
				return err
			}
			return proxytest.Send(stream, response)
		})
	}
}

// answer answers one call.
func (r *fakeRuntime) answer(stream grpc.ServerStream) error {
	request, _ := metadata.FromIncomingContext(stream.Context())
	var s script
	if err := json.Unmarshal([]byte(strings.Join(request[scriptKey], "")), &s); err != nil {
		return err
	}
	if begun, ok := r.begun.Load(strings.Join(request[callKey], "")); ok {
		close(begun.(chan struct{}))
	}
	seen := newObservation(request)
	if err := stream.SetHeader(randomMetadata("header", s.Header)); err != nil {
		return err
	}
	if s.EarlyHeader {
		if err := stream.SendHeader(nil); err != nil {
			return err
		}
	}
	if s.Read == readAll {
		for {
			message, err := proxytest.Receive(stream)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			seen.add(message)
		}
	}
	for number, size := range s.Answers {
		if s.Read == readEach {
			message, err := proxytest.Receive(stream)
			if err != nil {
				return err
			}
			seen.add(message)
		}
		if err := proxytest.Send(stream, cut(size, number)); err != nil {
			return err
		}
	}
	stream.SetTrailer(randomMetadata("trailer", s.Trailer))
	stream.SetTrailer(metadata.Pairs("seen", seen.String()))
	return s.finish(stream)
}

func (s script) finish(stream grpc.ServerStream) error {
	switch s.GiveUp {
	case flooded:
		for {
			if err := proxytest.Send(stream, cut(20_000, 0)); err != nil {
				return err
			}
		}
	case never:
		if s.Details {
			return detailedStatus(codes.Code(s.Code), s.Text).Err()
		}
		return status.New(codes.Code(s.Code), s.Text).Err()
	default:
		<-stream.Context().Done()
		return nil
	}
}

func detailedStatus(code codes.Code, text string) *status.Status {
	s := status.New(code, text)
	if detailed, err := s.WithDetails(&errdetails.ErrorInfo{Reason: "DIFFERENTIAL", Domain: text}); err == nil {
		return detailed
	}
	return s // OK has no details
}

// observation is the part of a request that the runtime sees.
type observation struct {
	metadata uint32
	messages []string
}

func newObservation(request metadata.MD) *observation {
	var fields []string
	for key, values := range request {
		if strings.HasPrefix(key, "request") {
			fields = append(fields, fmt.Sprintf("%s=%q", key, values))
		}
	}
	slices.Sort(fields)
	return &observation{metadata: crc32.ChecksumIEEE([]byte(strings.Join(fields, "\n")))}
}

func (s *observation) add(message []byte) { s.messages = append(s.messages, summary(message)) }

func (s *observation) String() string {
	return fmt.Sprintf("metadata %08x, messages %v", s.metadata, s.messages)
}

// summary is a short form of a message.
func summary(message []byte) string {
	return strconv.Itoa(len(message)) + ":" + strconv.FormatUint(uint64(crc32.ChecksumIEEE(message)), 16)
}
