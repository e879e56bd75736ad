// Package trace shows the calls of CRI clients while they are made: who called what,
// for which pod, container and image, how long it took and how it ended, and, where
// that is asked for, what the messages said.
//
// In the daemon a [Hub] is told of every call. While nobody reads, that costs an atomic
// load. Each reader has a queue of bounded length: who is too slow loses events and is
// told how many; calls never wait. What a reader gets is lines of JSON, the first of
// which says their format, and the same lines are what a recording holds:
//
//	hub := trace.NewHub(trace.Options{Invoke: server.Invoke})
//	...
//	reader := hub.Subscribe(ctx, trace.Filter{Methods: []string{"PullImage"}}, false)
//	defer reader.Close()
//	line, err := reader.Next(ctx)
//
// Secrets are masked before an event leaves the hub, see package redact.
package trace
