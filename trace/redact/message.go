package redact

import (
	"encoding/json"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Message returns a message as JSON, with the field names of protobuf's JSON mapping and
// with secrets masked.
func Message(message proto.Message) json.RawMessage {
	return appendMessage(nil, message.ProtoReflect())
}

func appendMessage(b []byte, message protoreflect.Message) []byte {
	if secretMessages[message.Descriptor().FullName()] {
		return appendText(b, mask)
	}
	b = append(b, '{')
	start := len(b)
	fields := message.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if !message.Has(field) {
			continue
		}
		b = appendKey(b, start, field.JSONName())
		b = appendField(b, field, message)
	}
	if unknown := message.GetUnknown(); len(unknown) > 0 {
		b = appendKey(b, start, "unknownBytes")
		b = strconv.AppendInt(b, int64(len(unknown)), 10)
	}
	return append(b, '}')
}

func appendKey(b []byte, start int, key string) []byte {
	if len(b) > start {
		b = append(b, ',')
	}
	return append(appendText(b, key), ':')
}

func appendField(b []byte, field protoreflect.FieldDescriptor, message protoreflect.Message) []byte {
	switch v := message.Get(field); {
	case field.IsMap():
		return appendMap(b, field, v.Map())
	case field.IsList() && argsFields[fieldName(field)]:
		before := lastCommandWord(field, message)
		return appendTexts(b, Args(append(before, stringsOf(v.List())...))[len(before):])
	case field.IsList():
		b = append(b, '[')
		start := len(b)
		for i := range v.List().Len() {
			if len(b) > start {
				b = append(b, ',')
			}
			b = appendValue(b, field, v.List().Get(i))
		}
		return append(b, ']')
	default:
		return appendValue(b, field, v)
	}
}

// lastCommandWord returns the last word of a container's command if field is args. The
// args continue the command: the last word of the command may be a flag, and the first of
// the args its value.
func lastCommandWord(field protoreflect.FieldDescriptor, message protoreflect.Message) []string {
	command := field.ContainingMessage().Fields().ByName("command")
	if fieldName(field) != "args" || command == nil {
		return nil
	}
	words := stringsOf(message.Get(command).List())
	return words[max(0, len(words)-1):]
}

func appendValue(b []byte, field protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch field.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return appendMessage(b, v.Message())
	case protoreflect.StringKind:
		return appendText(b, redactString(field, v.String()))
	case protoreflect.BytesKind:
		return appendText(b, mask)
	case protoreflect.EnumKind:
		if known := field.Enum().Values().ByNumber(v.Enum()); known != nil {
			return appendText(b, string(known.Name()))
		}
		return strconv.AppendInt(b, int64(v.Enum()), 10)
	case protoreflect.Int64Kind: // a string, as in protobuf's JSON mapping: many JSON readers round large numbers
		return append(strconv.AppendInt(append(b, '"'), v.Int(), 10), '"')
	case protoreflect.Uint64Kind:
		return append(strconv.AppendUint(append(b, '"'), v.Uint(), 10), '"')
	case protoreflect.DoubleKind, protoreflect.FloatKind: // a string: JSON has no NaN and infinity
		return appendText(b, strconv.FormatFloat(v.Float(), 'g', -1, 64))
	default:
		return append(b, v.String()...)
	}
}

func appendMap(b []byte, field protoreflect.FieldDescriptor, m protoreflect.Map) []byte {
	values := make(map[string]string, m.Len())
	for key, v := range m.Range {
		values[Field(key.String())] = redactMapValue(field, key.String(), v)
	}
	keys := make([]string, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	b = append(b, '{')
	start := len(b)
	for _, key := range keys {
		b = appendText(appendKey(b, start, key), values[key])
	}
	return append(b, '}')
}

func stringsOf(list protoreflect.List) []string {
	all := make([]string, list.Len())
	for i := range all {
		all[i] = list.Get(i).String()
	}
	return all
}

func appendTexts(b []byte, all []string) []byte {
	encoded, err := json.Marshal(all)
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, encoded...)
}

func appendText(b []byte, text string) []byte {
	encoded, err := json.Marshal(text)
	if err != nil {
		return append(b, `""`...)
	}
	return append(b, encoded...)
}
