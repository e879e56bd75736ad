package trace

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"image-cri-shim/trace/redact"
)

// telling is a record on its way to the readers: what is only needed for some of them
// is made when the first one wants it.
type telling struct {
	event             Event // without messages
	record            *record
	request, response proto.Message // nil where they can't be decoded
	short, long       []byte
}

// translate makes an event of a record, and remembers the names that it brings.
func (s *session) translate(r *record) *telling {
	t := &telling{record: r}
	if r.method != nil {
		if r.request.content != nil {
			t.request = decode(r.method.request, r.request.content)
		}
		if r.response.content != nil {
			t.response = decode(r.method.response, r.response.content)
		}
	}
	about, isMessage := t.request, !r.at.IsZero()
	if isMessage {
		about = t.response
	}
	subject := s.names.about(about)
	if !isMessage && r.ending.Err == nil {
		s.names.update(t.request, t.response)
	}
	client := r.call.Client
	if client.Name == "" {
		client.Name = s.processes.name(client.Process, r.call.Start)
	}
	t.event = Event{
		Kind: KindCall, Time: r.call.Start.UTC().Round(0), ID: r.call.ID, Client: &client, Method: bounded(r.call.Method),
		Pod: bounded(redact.Field(subject.pod)), Container: bounded(redact.Field(subject.container)),
	}
	for _, image := range subject.images {
		t.event.Images = append(t.event.Images, bounded(redact.Field(image)))
	}
	if isMessage {
		t.event.Kind, t.event.Time, t.event.ResponseBytes = KindMessage, r.at.UTC().Round(0), int64(r.response.length)
		return t
	}
	t.end(r)
	return t
}

// end is what is known of a call because it has ended.
func (t *telling) end(r *record) {
	t.event.Seconds, t.event.Code = r.ending.Duration.Seconds(), r.ending.Code.String()
	t.event.RequestBytes, t.event.ResponseBytes = r.ending.RequestBytes, r.ending.ResponseBytes
	if r.ending.Err != nil {
		t.event.Error = bounded(redact.FreeText(status.Convert(r.ending.Err).Message()))
	}
	for _, d := range r.decisions {
		t.event.Decisions = append(t.event.Decisions, Decision{
			Asked: bounded(redact.Field(d.Asked)), Served: bounded(redact.Field(d.Served)), Registry: redact.Field(d.Registry), Reason: bounded(redact.FreeText(d.Reason)), Names: d.Names,
		})
	}
}

// line is the event as it is sent, with its messages or without.
func (t *telling) line(bodies bool) []byte {
	if bodies && (t.record.request.length > 0 || t.record.response.length > 0 || t.record.request.content != nil || t.record.response.content != nil) {
		if t.long == nil {
			e := t.event
			e.Request, e.Response = body(t.record.request, t.request), body(t.record.response, t.response)
			t.long = encode(e)
		}
		return t.long
	}
	if t.short == nil {
		t.short = encode(t.event)
	}
	return t.short
}

// body is what is shown of a message; nil where there was none.
func body(m message, decoded proto.Message) json.RawMessage {
	switch {
	case m.content != nil && decoded != nil:
		return redact.Message(decoded)
	case m.content != nil:
		return notShown(m.length, "it is no message that this shim knows")
	case m.problem != "":
		return notShown(m.length, m.problem)
	}
	return nil
}

// notShown stands for a message.
func notShown(length int, why string) json.RawMessage {
	text, err := json.Marshal(fmt.Sprintf("%d bytes, not shown: %s", length, why))
	if err != nil {
		return nil
	}
	return text
}

// encode is a line of a trace.
func encode(e Event) []byte {
	line, err := json.Marshal(e)
	if err != nil { // no value that it holds can't be encoded
		return []byte("{}\n")
	}
	return append(printable(line), '\n')
}

// printable escapes what JSON may hold as it is but a terminal may obey: the control
// characters from U+007F on, and what is no UTF-8.
func printable(text []byte) []byte {
	obeyed := func(r rune) bool { return r >= 0x7f && r <= 0x9f || r == utf8.RuneError }
	if !bytes.ContainsFunc(text, obeyed) {
		return text
	}
	var escaped []byte
	for _, r := range string(text) {
		if obeyed(r) {
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		} else {
			escaped = utf8.AppendRune(escaped, r)
		}
	}
	return escaped
}
