package daemon

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"image-cri-shim/metrics"
	"image-cri-shim/page"
	"image-cri-shim/proxy"
	"image-cri-shim/rewrite"
	"image-cri-shim/trace"
)

// observers report calls and decisions about image names to the log, the metrics, the
// debug page and the trace.
type observers struct {
	log     *logrus.Logger
	metrics atomic.Pointer[metrics.Metrics] // nil while metrics are off
	page    atomic.Pointer[page.Page]       // nil while the page is off
	trace   *trace.Hub
	clients connectedClients
	runtime *runtimeMonitor
	failed  failedPulls
}

// Begin implements [proxy.Observer].
func (o *observers) Begin(call *proxy.Call) proxy.Tap {
	if m := o.metrics.Load(); m != nil {
		m.Begin(call.Method, call.Start)
	}
	if tap := o.trace.Begin(traceCall(call)); tap != nil {
		return traceTap{tap}
	}
	return nil
}

// End implements [proxy.Observer].
func (o *observers) End(call *proxy.Call) {
	logCall(o.log, call)
	if call.Err == nil {
		o.clients.countCall(call.Client)
	}
	o.runtime.observe(call.Code)
	if m := o.metrics.Load(); m != nil {
		m.End(metrics.Call{
			Method:     call.Method,
			Start:      call.Start,
			Duration:   call.Duration,
			Code:       uint32(call.Code),
			Requests:   call.Requests.Bytes,
			Responses:  call.Responses.Bytes,
			Unrestored: call.Unrestored,
		})
	}
	if p := o.page.Load(); p != nil {
		p.ObserveCall(call.Method, call.Code.String(), call.Duration)
	}
	o.trace.End(traceCall(call), trace.Result{
		Duration: call.Duration, Code: call.Code, Err: call.Err,
		RequestBytes: call.Requests.Bytes, ResponseBytes: call.Responses.Bytes,
	})
}

// decided reports a decision. ctx is the context of the call.
func (o *observers) decided(ctx context.Context, d rewrite.Decision) {
	level := decisionLevel(d, errors.Is(context.Cause(ctx), context.Canceled))
	if level == logrus.ErrorLevel {
		level = o.failed.limit(o.log)
	}
	logDecision(o.log, d, level)
	o.countDecision(d)
	o.showDecision(d)
	if call := proxy.CallOf(ctx); call != nil {
		o.trace.ObserveDecision(call.ID, trace.Decision{Asked: d.Asked, Served: d.Served, Registry: d.Registry, Reason: d.Reason, Names: string(d.Names), Namespace: d.Namespace, Pod: d.Pod})
	}
}

// traceCall converts a call for package trace, which does not import proxy.
func traceCall(call *proxy.Call) trace.Call {
	return trace.Call{ID: call.ID, Client: trace.Client{Process: call.Client.Process, User: call.Client.User}, Method: call.Method, Start: call.Start}
}

// traceTap adapts a [trace.Tap] to [proxy.Tap].
type traceTap struct{ *trace.Tap }

// Wants implements [proxy.Tap].
func (t traceTap) Wants(from proxy.Side, length int) int {
	return t.Tap.Wants(from == proxy.FromClient, length)
}

// Message implements [proxy.Tap].
func (t traceTap) Message(from proxy.Side, message []byte, length int, compressed bool) {
	t.Tap.Message(from == proxy.FromClient, message, length, compressed)
}
