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

// pendingEvent is an event that is being published. It is encoded at most twice: once for
// the readers that want messages, and once for all others.
type pendingEvent struct {
	event                      Event // without messages
	record                     *record
	request, response          proto.Message // nil if they can't be decoded
	encoded, encodedWithBodies []byte
}

// translate returns the event of a record, and updates the names of pods and containers.
func (s *session) translate(r *record) *pendingEvent {
	p := &pendingEvent{record: r}
	if r.method != nil {
		if r.request.content != nil {
			p.request = decode(r.method.request, r.request.content)
		}
		if r.response.content != nil {
			p.response = decode(r.method.response, r.response.content)
		}
	}
	source, isMessage := p.request, !r.received.IsZero()
	if isMessage {
		source = p.response
	}
	subject := s.names.subjectOf(source)
	if !isMessage && r.result.Err == nil {
		s.names.update(p.request, p.response)
	}
	client := r.call.Client
	if client.Name == "" {
		client.Name = s.processes.name(client.Process, r.call.Start)
	}
	p.event = Event{
		Kind: KindCall, Time: r.call.Start.UTC().Round(0), ID: r.call.ID, Client: &client, Method: truncate(r.call.Method),
		Pod: truncate(redact.Field(subject.pod)), Container: truncate(redact.Field(subject.container)),
	}
	for _, image := range subject.images {
		p.event.Images = append(p.event.Images, truncate(redact.Field(image)))
	}
	if isMessage {
		p.event.Kind, p.event.Time, p.event.ResponseBytes = KindMessage, r.received.UTC().Round(0), int64(r.response.length)
		return p
	}
	p.setResult(r)
	return p
}

// setResult sets the fields of a finished call.
func (p *pendingEvent) setResult(r *record) {
	p.event.Seconds, p.event.Code = r.result.Duration.Seconds(), r.result.Code.String()
	p.event.RequestBytes, p.event.ResponseBytes = r.result.RequestBytes, r.result.ResponseBytes
	if r.result.Err != nil {
		p.event.Error = truncate(redact.FreeText(status.Convert(r.result.Err).Message()))
	}
	p.event.addDecisions(r.decisions)
}

// line returns the encoded event, with its messages if bodies is set.
func (p *pendingEvent) line(bodies bool) []byte {
	if bodies && (p.record.request.length > 0 || p.record.response.length > 0 || p.record.request.content != nil || p.record.response.content != nil) {
		if p.encodedWithBodies == nil {
			e := p.event
			e.Request, e.Response = renderMessage(p.record.request, p.request), renderMessage(p.record.response, p.response)
			p.encodedWithBodies = encode(e)
		}
		return p.encodedWithBodies
	}
	if p.encoded == nil {
		p.encoded = encode(p.event)
	}
	return p.encoded
}

// renderMessage returns a message as JSON with secrets masked, or nil without a message.
func renderMessage(m message, decoded proto.Message) json.RawMessage {
	switch {
	case m.content != nil && decoded != nil:
		return redact.Message(decoded)
	case m.content != nil:
		return placeholder(m.length, "not a message of a known type")
	case m.omitted != "":
		return placeholder(m.length, m.omitted)
	}
	return nil
}

// placeholder returns the JSON text that replaces a message that is not shown.
func placeholder(length int, reason string) json.RawMessage {
	text, err := json.Marshal(fmt.Sprintf("%d bytes, not shown: %s", length, reason))
	if err != nil {
		return nil
	}
	return text
}

// encode returns an event as a line of a trace.
func encode(e Event) []byte {
	e.Version = formatVersion
	line, err := json.Marshal(e)
	if err != nil { // can't happen: each field can be encoded
		return []byte("{}\n")
	}
	return append(escapeControls(line), '\n')
}

// escapeControls escapes what JSON permits but a terminal may interpret: control characters
// from U+007F on, and invalid UTF-8.
func escapeControls(text []byte) []byte {
	isControl := func(r rune) bool { return r >= 0x7f && r <= 0x9f || r == utf8.RuneError }
	if !bytes.ContainsFunc(text, isControl) {
		return text
	}
	var escaped []byte
	for _, r := range string(text) {
		if isControl(r) {
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		} else {
			escaped = utf8.AppendRune(escaped, r)
		}
	}
	return escaped
}
