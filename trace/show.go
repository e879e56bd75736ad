package trace

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// What is shown of a message. It is not hidden what is known to be secret, but shown
// what is known not to be: texts in fields that are not in these tables, those of a
// later CRI included, are masked, and fields that this CRI does not have are counted
// only. Numbers and enumerations are always shown.

// texts are the names of fields with texts that say nothing secret.
var texts = set(`
	version runtime_name runtime_version runtime_api_version
	id pod_sandbox_id container_id container_ids target_id uid name namespace hostname
	image user_specified_image image_ref image_id repo_tags repo_digests image_sub_path
	runtime_handler type role level user username run_as_username reason
	container_path host_path log_path log_directory working_dir mountpoint location output_path checkpoint_path
	masked_paths readonly_paths localhost_ref seccomp_profile_path apparmor_profile permissions cgroup_parent
	cpuset_cpus cpuset_mems page_size add_capabilities drop_capabilities add_ambient_capabilities
	servers searches options host_ip ip pod_cidr key help label_keys`)

// Texts of another kind.
var (
	proses   = set("message mount_options label_values")
	commands = set("command args cmd")
	links    = set("url")
)

// tables are the maps whose values are shown; of labelled ones those that don't look
// secret. Of other maps the keys are.
var (
	tables   = set("sysctls unified")
	labelled = set("labels annotations label_selector")
)

// hidden are messages that are masked as a whole.
var hidden = set("runtime.v1.AuthConfig")

func set(words string) map[protoreflect.FullName]bool {
	members := make(map[protoreflect.FullName]bool)
	for word := range strings.FieldsSeq(words) {
		members[protoreflect.FullName(word)] = true
	}
	return members
}

// show writes a message as JSON, with the names of fields that protobuf gives them
// there.
func show(message proto.Message) json.RawMessage {
	return appendMessage(nil, message.ProtoReflect())
}

func appendMessage(b []byte, message protoreflect.Message) []byte {
	if hidden[message.Descriptor().FullName()] {
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
	case field.IsList() && commands[name(field)]:
		before := lastOfCommand(field, message)
		return appendTexts(b, arguments(append(before, strings_(v.List())...))[len(before):])
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

// lastOfCommand is the word before the first one of a container's args, which go on
// where its command ends; none before those of other fields.
func lastOfCommand(field protoreflect.FieldDescriptor, message protoreflect.Message) []string {
	command := field.ContainingMessage().Fields().ByName("command")
	if name(field) != "args" || command == nil {
		return nil
	}
	words := strings_(message.Get(command).List())
	return words[max(0, len(words)-1):]
}

func name(field protoreflect.FieldDescriptor) protoreflect.FullName {
	return protoreflect.FullName(field.Name())
}

func appendValue(b []byte, field protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch field.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return appendMessage(b, v.Message())
	case protoreflect.StringKind:
		return appendText(b, textOf(field, v.String()))
	case protoreflect.BytesKind:
		return appendText(b, mask)
	case protoreflect.EnumKind:
		if known := field.Enum().Values().ByNumber(v.Enum()); known != nil {
			return appendText(b, string(known.Name()))
		}
		return strconv.AppendInt(b, int64(v.Enum()), 10)
	case protoreflect.Int64Kind: // as protobuf's JSON: no reader rounds it
		return append(strconv.AppendInt(append(b, '"'), v.Int(), 10), '"')
	case protoreflect.Uint64Kind:
		return append(strconv.AppendUint(append(b, '"'), v.Uint(), 10), '"')
	case protoreflect.DoubleKind, protoreflect.FloatKind: // there may be none for it in JSON
		return appendText(b, strconv.FormatFloat(v.Float(), 'g', -1, 64))
	default:
		return append(b, v.String()...)
	}
}

func textOf(field protoreflect.FieldDescriptor, text string) string {
	switch key := name(field); {
	case texts[key]:
		return plain(text)
	case proses[key]:
		return prose(text)
	case links[key]:
		return link(text)
	case text == "":
		return ""
	default:
		return mask
	}
}

// link is the address of a stream, whose path ends with what opens it.
func link(text string) string {
	address, err := url.Parse(text)
	if err != nil || address.Host == "" {
		return mask
	}
	folder, _, _ := strings.Cut(strings.TrimPrefix(address.Path, "/"), "/")
	if !regexp.MustCompile(`^[a-z]{1,16}$`).MatchString(folder) {
		folder = mask
	}
	return plain(address.Scheme + "://" + address.Host + "/" + folder + "/" + mask)
}

func appendMap(b []byte, field protoreflect.FieldDescriptor, m protoreflect.Map) []byte {
	values := make(map[string]string, m.Len())
	for key, v := range m.Range {
		values[plain(key.String())] = mapped(field, key.String(), v)
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

// mapped is what is shown of a map's value.
func mapped(field protoreflect.FieldDescriptor, key string, v protoreflect.Value) string {
	text := v.String()
	switch {
	case tables[name(field)]:
		return plain(text)
	case labelled[name(field)]:
		return label(key, text)
	}
	return mask
}

// own are the labels and annotations that kubelet makes itself.
var own = set(`
	io.kubernetes.pod.name io.kubernetes.pod.namespace io.kubernetes.pod.uid
	io.kubernetes.pod.terminationGracePeriod io.kubernetes.container.name
	io.kubernetes.container.hash io.kubernetes.container.restartCount io.kubernetes.container.ports
	io.kubernetes.container.terminationMessagePath io.kubernetes.container.terminationMessagePolicy
	kubernetes.io/config.hash kubernetes.io/config.seen kubernetes.io/config.source`)

// short is a value that people write: no document, no query, no list of variables.
var short = regexp.MustCompile(`^[\w .,:/@+-]{0,128}$`)

// label is what is shown of the value of a label or an annotation.
func label(key, value string) string {
	switch {
	case own[protoreflect.FullName(key)]:
		return plain(value)
	case secretName.MatchString(key), !short.MatchString(value), random(value, false):
		return mask
	}
	return plain(value)
}

func strings_(list protoreflect.List) []string {
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
