package chart

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
)

// TestValuesAreChecked requires that a wrong value is an error with its place.
func TestValuesAreChecked(t *testing.T) {
	for values, want := range map[string]string{
		"confg: {}":                             "'confg' not allowed",
		"config: {adress: 'http://hub'}":        "at '/config': additional properties 'adress' not allowed",
		"config: 3":                             "at '/config'",
		"image: {tag: v1}":                      "image.repository is empty",
		"image: {repository: 'hub/a@sha256:b'}": "at '/image/repository'",
		"image: {repository: a, tag: 1.10}":     "at '/image/tag': got number, want string",
		"image: {repository: a, digest: b}":     "at '/image/digest'",
		"jitter: 60":                            "at '/jitter': got number, want string",
		"jitter: one minute":                    "at '/jitter'",
		"registryGate: some":                    "at '/registryGate': value must be one of 'was-reachable', 'all', 'off'",
		"waves: canary":                         "at '/waves': got string, want array",
		"waves: ['a b']":                        "at '/waves/0'",
		"maxUnavailable: 0":                     "at '/maxUnavailable'",
		"maxUnavailable: 0%":                    "at '/maxUnavailable'",
		"live: 'yes'":                           "at '/live': got string, want boolean",
		"compatibility: {sealos: true}":         "at '/compatibility'",
		"files: {../passwd: a}":                 "at '/files'",
		"files: {..data: a}":                    "at '/files'",
		"existingSecret: My_Secret":             "at '/existingSecret'",
		"fullnameOverride: a23456789-123456789-123456789-123456789-1": "at '/fullnameOverride'",
		"metrics: {enabled: 'yes'}":                                   "at '/metrics/enabled'",
		"metrics: {port: 0}":                                          "at '/metrics/port'",
		"metrics: {port: 65536}":                                      "at '/metrics/port'",
		"metrics: {port: '9466'}":                                     "at '/metrics/port'",
		"metrics: {port: null}":                                       "missing property 'port'",
		"metrics: {podMonitor: {interval: 30}}":                       "at '/metrics/podMonitor/interval'",
		"metrics: {podMonitor: {labels: [a]}}":                        "at '/metrics/podMonitor/labels'",
		"metrics: {serviceMonitor: {}}":                               "at '/metrics'",
		"live: true\ncompatibility: {sealosConfigMap: true}":          "live and compatibility.sealosConfigMap are both true",
	} {
		wantFailure(t, values, want)
	}
}

// TestValuesAreDocumented requires that the schema and values.yaml have the same keys.
func TestValuesAreDocumented(t *testing.T) {
	loaded, err := loader.Load("image-cri-shim")
	if err != nil {
		t.Fatal(err)
	}
	schema := readSchema(t)
	keys := slices.Sorted(maps.Keys(schema.Properties))
	documented := slices.Sorted(maps.Keys(loaded.Values))
	if keys = slices.DeleteFunc(keys, func(key string) bool { return key == "global" }); !slices.Equal(keys, documented) {
		t.Errorf("the schema has %q, values.yaml has %q", keys, documented)
	}
}

// TestSchemaListsTheConfiguration requires that config permits exactly the keys of the
// documented configuration, and sealos.
func TestSchemaListsTheConfiguration(t *testing.T) {
	file, err := os.ReadFile("../image-cri-shim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	documented := []string{"sealos"}
	for _, match := range regexp.MustCompile(`(?m)^#?([a-zA-Z]+):`).FindAllSubmatch(file, -1) {
		documented = append(documented, string(match[1]))
	}
	slices.Sort(documented)
	if keys := slices.Sorted(maps.Keys(readSchema(t).Properties["config"].Properties)); !slices.Equal(keys, documented) {
		t.Errorf("the schema has %q, want %q", keys, documented)
	}
}

type schema struct {
	Properties map[string]schema `json:"properties"`
}

func readSchema(t *testing.T) (s schema) {
	t.Helper()
	content, err := os.ReadFile("image-cri-shim/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &s); err != nil {
		t.Fatal(err)
	}
	return s
}
