package redact

import (
	"net/url"
	"regexp"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// The tables below list the CRI's string fields that are shown. All other strings are
// masked. Numbers and enumerations are always shown. Of fields unknown to this version of
// the CRI, only the number of bytes is shown.

// plainFields are string fields without secrets.
var plainFields = nameSet(`
	version runtime_name runtime_version runtime_api_version
	id pod_sandbox_id container_id container_ids target_id uid name namespace hostname
	image user_specified_image image_ref image_id repo_tags repo_digests image_sub_path
	runtime_handler type role level user username run_as_username reason
	container_path host_path log_path log_directory working_dir mountpoint location output_path checkpoint_path
	masked_paths readonly_paths localhost_ref seccomp_profile_path apparmor_profile permissions cgroup_parent
	cpuset_cpus cpuset_mems page_size add_capabilities drop_capabilities add_ambient_capabilities
	servers searches options host_ip ip pod_cidr key help label_keys`)

// String fields that may contain secrets, which are masked.
var (
	freeTextFields  = nameSet("message mount_options label_values")
	argsFields      = nameSet("command args cmd")
	streamURLFields = nameSet("url")
)

// Maps with values that are shown. Values of labels are masked if they look secret. Of all
// other maps, only the keys are shown.
var (
	plainMaps = nameSet("sysctls unified")
	labelMaps = nameSet("labels annotations label_selector")
)

// secretMessages are the messages that are masked as a whole.
var secretMessages = nameSet("runtime.v1.AuthConfig")

func nameSet(words string) map[protoreflect.FullName]bool {
	names := make(map[protoreflect.FullName]bool)
	for word := range strings.FieldsSeq(words) {
		names[protoreflect.FullName(word)] = true
	}
	return names
}

// fieldName returns the name of field as used in the tables.
func fieldName(field protoreflect.FieldDescriptor) protoreflect.FullName {
	return protoreflect.FullName(field.Name())
}

func redactString(field protoreflect.FieldDescriptor, text string) string {
	switch key := fieldName(field); {
	case plainFields[key]:
		return Field(text)
	case freeTextFields[key]:
		return FreeText(text)
	case streamURLFields[key]:
		return redactStreamURL(text)
	case text == "":
		return ""
	default:
		return mask
	}
}

// streamKind matches the first part of a stream's path, such as exec.
var streamKind = regexp.MustCompile(`^[a-z]{1,16}$`)

// redactStreamURL masks the end of a stream's path, which is a token that opens the stream.
func redactStreamURL(text string) string {
	address, err := url.Parse(text)
	if err != nil || address.Host == "" {
		return mask
	}
	kind, _, _ := strings.Cut(strings.TrimPrefix(address.Path, "/"), "/")
	if !streamKind.MatchString(kind) {
		kind = mask
	}
	return Field(address.Scheme + "://" + address.Host + "/" + kind + "/" + mask)
}

func redactMapValue(field protoreflect.FieldDescriptor, key string, v protoreflect.Value) string {
	text := v.String()
	switch {
	case plainMaps[fieldName(field)]:
		return Field(text)
	case labelMaps[fieldName(field)]:
		return redactLabel(key, text)
	}
	return mask
}

// kubeletLabels are the labels and annotations that kubelet itself sets.
var kubeletLabels = nameSet(`
	io.kubernetes.pod.name io.kubernetes.pod.namespace io.kubernetes.pod.uid
	io.kubernetes.pod.terminationGracePeriod io.kubernetes.container.name
	io.kubernetes.container.hash io.kubernetes.container.restartCount io.kubernetes.container.ports
	io.kubernetes.container.terminationMessagePath io.kubernetes.container.terminationMessagePolicy
	kubernetes.io/config.hash kubernetes.io/config.seen kubernetes.io/config.source`)

// shortValue matches values without structure: no document, query or list of variables.
var shortValue = regexp.MustCompile(`^[\w .,:/@+-]{0,128}$`)

// redactLabel masks the value of a label or annotation that may be secret.
func redactLabel(key, value string) string {
	switch {
	case kubeletLabels[protoreflect.FullName(key)]:
		return Field(value)
	case secretName.MatchString(key), !shortValue.MatchString(value), looksRandom(value, false):
		return mask
	}
	return Field(value)
}
