package main

import (
	"context"

	"github.com/sirupsen/logrus"

	"image-cri-shim/proxy"
	"image-cri-shim/rewrite"
)

// observers are those who are told of calls and of decisions about image names.
type observers struct{ log *logrus.Logger }

// Begin implements [proxy.Observer].
func (o *observers) Begin(*proxy.Call) proxy.Tap { return nil }

// End implements [proxy.Observer].
func (o *observers) End(call *proxy.Call) { logCall(o.log, call) }

// decided is told of decisions. ctx is that of the call which one was made for.
func (o *observers) decided(_ context.Context, decision rewrite.Decision) {
	logDecision(o.log, decision)
}
