// Package trace shows the calls of CRI clients while they pass: client, method, pod,
// container, image, duration and result, and on request the messages.
//
// The daemon reports every call to a [Hub]. Without a reader, this costs a few atomic
// loads. Each reader has a bounded queue. A reader that is too slow loses events and receives
// the number of lost events; calls never wait. Events are lines of JSON, after a header
// line with the version of the format. A recording consists of the same lines:
//
//	hub := trace.NewHub(trace.Options{Invoke: server.Invoke})
//	...
//	reader := hub.Subscribe(ctx, trace.Filter{Methods: []string{"PullImage"}}, false)
//	defer reader.Close()
//	line, err := reader.Next(ctx)
//
// On request, the hub keeps the lines of finished calls in a ring of fixed size, for readers
// that look back ([Hub.SetBuffer], [Hub.SubscribeSince]). These lines have no messages, and a
// pod only if the call was a pull.
//
// Secrets are masked before an event leaves the hub, see package redact.
package trace
