// Package trace shows the calls of CRI clients as they pass: client, method, pod,
// container, image, duration and result, and on request the messages.
//
// The daemon reports every call to a [Hub]. Without a reader, this costs one atomic load.
// Each reader has a queue of bounded length. A reader that is too slow loses events and
// gets their number; calls never wait. Events are lines of JSON, after a first line with
// the format's version. A recording consists of the same lines:
//
//	hub := trace.NewHub(trace.Options{Invoke: server.Invoke})
//	...
//	reader := hub.Subscribe(ctx, trace.Filter{Methods: []string{"PullImage"}}, false)
//	defer reader.Close()
//	line, err := reader.Next(ctx)
//
// Secrets are masked before an event leaves the hub, see package redact.
package trace
