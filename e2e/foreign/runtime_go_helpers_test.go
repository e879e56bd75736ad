package foreign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // container runtimes support it too
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// rawCodec leaves messages unchanged. Its empty name makes the content type
// application/grpc.
type rawCodec struct{}

func (rawCodec) Name() string { return "" }

func (rawCodec) Marshal(message any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*message.(*[]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, message any) error {
	*message.(*[]byte) = data.Materialize()
	return nil
}

// goRuntime is a runtime on grpc-go, like containerd and CRI-O, that answers by a script.
type goRuntime struct {
	script script
	mutex  sync.Mutex
	used   []int // by rule
	counts report
}

// startGoRuntime serves a runtime until the test ends.
func startGoRuntime(t *testing.T, s script) {
	t.Helper()
	listener, err := net.Listen("unix", s.Socket)
	if err != nil {
		t.Fatal(err)
	}
	r := &goRuntime{script: s, used: make([]int, len(s.Rules))}
	server := grpc.NewServer(append(serverOptions(s.Options),
		grpc.ForceServerCodecV2(rawCodec{}), grpc.MaxRecvMsgSize(64<<20), grpc.UnknownServiceHandler(r.answer))...)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) }) // until Stop
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})
}

// serverOptions converts the channel arguments that the scripts use to grpc-go's options.
func serverOptions(arguments map[string]any) []grpc.ServerOption {
	milliseconds := func(name string) time.Duration {
		value, _ := arguments[name].(int)
		return time.Duration(value) * time.Millisecond
	}
	options := []grpc.ServerOption{grpc.KeepaliveParams(keepalive.ServerParameters{
		MaxConnectionAge: milliseconds("grpc.max_connection_age_ms"), MaxConnectionAgeGrace: milliseconds("grpc.max_connection_age_grace_ms"),
	})}
	if interval := milliseconds(pingInterval); interval > 0 {
		options = append(options, grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: interval}))
	}
	return options
}

// pingInterval is the channel argument for the minimum time between two pings.
const pingInterval = "grpc.http2.min_ping_interval_without_data_ms"

func (r *goRuntime) answer(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	first := r.first(method)
	switch {
	case first == nil:
		return status.Errorf(codes.Unimplemented, "unknown method %s", method)
	case first.Mode == modeReport:
		return r.report(stream)
	}
	r.count(1, 1)
	defer r.count(0, -1)
	if err := r.compress(stream.Context()); err != nil {
		return err
	}
	if err := sendMetadata(stream); err != nil {
		return err
	}
	switch first.Mode {
	case modeEcho:
		return echo(stream)
	case modeCount:
		return countMessages(stream)
	}
	var request []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	chosen := r.choose(method, request)
	if chosen == nil {
		return status.Error(codes.NotFound, "no rule")
	}
	return answerByRule(stream, chosen)
}

// compress compresses the answers if the client accepts it.
func (r *goRuntime) compress(ctx context.Context) error {
	if r.script.Compression == "" {
		return nil
	}
	accepted, err := grpc.ClientSupportedCompressors(ctx)
	if err != nil || !slices.Contains(accepted, r.script.Compression) {
		return err
	}
	return grpc.SetSendCompressor(ctx, r.script.Compression)
}

func (r *goRuntime) count(begun, open int) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.counts.Begun += begun
	r.counts.Open += open
}

// first returns the first rule of a method, or nil if there is none.
func (r *goRuntime) first(method string) *rule {
	for i := range r.script.Rules {
		if r.script.Rules[i].Method == method {
			return &r.script.Rules[i]
		}
	}
	return nil
}

// choose returns the first rule for a request that is not used up, or nil if there is none.
func (r *goRuntime) choose(method string, request []byte) *rule {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for i := range r.script.Rules {
		candidate := &r.script.Rules[i]
		if candidate.Method == method && strings.Contains(string(request), candidate.Contains) &&
			(candidate.Limit == 0 || r.used[i] < candidate.Limit) {
			r.used[i]++
			return candidate
		}
	}
	return nil
}

func (r *goRuntime) report(stream grpc.ServerStream) error {
	r.mutex.Lock()
	encoded, err := json.Marshal(r.counts)
	r.mutex.Unlock()
	if err != nil {
		return err
	}
	return stream.SendMsg(&encoded)
}

// sendMetadata returns the client's metadata keys with the prefix x- as headers, and those with
// t- as trailers.
func sendMetadata(stream grpc.ServerStream) error {
	sent, _ := metadata.FromIncomingContext(stream.Context())
	headers, trailers := metadata.MD{}, metadata.MD{}
	for key, values := range sent {
		switch {
		case strings.HasPrefix(key, "x-"):
			headers[key] = values
		case strings.HasPrefix(key, "t-"):
			trailers[key] = values
		}
	}
	stream.SetTrailer(trailers)
	return stream.SendHeader(headers)
}

func echo(stream grpc.ServerStream) error {
	for {
		var message []byte
		if err := stream.RecvMsg(&message); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
}

func countMessages(stream grpc.ServerStream) error {
	messages, size := 0, 0
	for {
		var message []byte
		err := stream.RecvMsg(&message)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		messages++
		size += len(message)
	}
	answer := fmt.Appendf(nil, "%d messages, %d bytes", messages, size)
	return stream.SendMsg(&answer)
}

// answerByRule answers a call by a rule.
func answerByRule(stream grpc.ServerStream, chosen *rule) error {
	if chosen.Delay > 0 {
		select {
		case <-time.After(time.Duration(chosen.Delay) * time.Millisecond):
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
	for i := range chosen.Answers {
		if chosen.Unary && chosen.Code != 0 {
			break // a unary error has no answer before it
		}
		if err := stream.SendMsg(&chosen.Answers[i]); err != nil {
			return err
		}
	}
	if chosen.Mode == modeHang {
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	if chosen.Code == 0 {
		return nil
	}
	if len(chosen.Details) > 0 {
		stream.SetTrailer(metadata.Pairs("grpc-status-details-bin", string(chosen.Details)))
	}
	return status.Error(codes.Code(chosen.Code), chosen.Message)
}

// invoke makes a unary call with an encoded message.
func invoke(ctx context.Context, socket, method string, request []byte) ([]byte, error) {
	connection, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer func() { _ = connection.Close() }()
	var answer []byte
	err = connection.Invoke(ctx, method, &request, &answer, grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallRecvMsgSize(64<<20))
	return answer, err
}
