package main

import (
	"context"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"image-cri-shim/metrics"
	"image-cri-shim/proxy"
	"image-cri-shim/rewrite"
)

// observers are those who are told of calls and of decisions about image names.
type observers struct {
	log     *logrus.Logger
	metrics atomic.Pointer[metrics.Metrics] // nil where nobody wants them
}

// Begin implements [proxy.Observer].
func (o *observers) Begin(call *proxy.Call) proxy.Tap {
	if m := o.metrics.Load(); m != nil {
		m.Begin(call.Method, call.Start)
	}
	return nil
}

// End implements [proxy.Observer].
func (o *observers) End(call *proxy.Call) {
	logCall(o.log, call)
	if m := o.metrics.Load(); m != nil {
		m.End(metrics.Call{
			Method:    call.Method,
			Start:     call.Start,
			Duration:  call.Duration,
			Code:      uint32(call.Code),
			Requests:  call.Requests.Bytes,
			Responses: call.Responses.Bytes,
		})
	}
}

// decided is told of decisions. ctx is that of the call which one was made for.
func (o *observers) decided(_ context.Context, decision rewrite.Decision) {
	logDecision(o.log, decision)
	o.countDecision(decision)
}
