package config

import "testing"

func TestManifest(t *testing.T) {
	for _, test := range []struct{ data, want string }{
		{"apiVersion: v1\ndata:\n  registries.yaml: |\n    sealos:\n      address: hub.local\nkind: ConfigMap\nmetadata:\n  name: image-cri-shim\n", "f:6: kind: this is the manifest of a ConfigMap; use the text below data.registries.yaml, or convert it with image-cri-shim migrate"},
		{"kind: ConfigMap\ndata: {a.yaml: x, registries.yaml: x}\n", "f:1: kind: this is the manifest of a ConfigMap; use the text below data.registries.yaml, or convert it with image-cri-shim migrate"},
		{"kind: ConfigMap\ndata: {shim.yaml: x}\n", "f:1: kind: this is the manifest of a ConfigMap; use the text below data.shim.yaml"},
		{"kind: ConfigMap\n", "f:1: kind: this is the manifest of a ConfigMap; use the text below data"},
		{"kind: Secret\ndata: {shim.yaml: aHVudGVyMg==}\n", "f:1: kind: this is the manifest of a Secret; use the text below data.shim.yaml, decoded with base64 -d"},
		{"kind: Secret\nstringData: {shim.yaml: hunter2}\n", "f:1: kind: this is the manifest of a Secret; use the text below stringData.shim.yaml"},
		{"kind: Pod\n", "f:1: kind: unknown key; image-cri-shim check --verbose lists the valid keys"},
	} {
		if _, err := Parse("f", []byte(test.data)); err == nil || err.Error() != test.want {
			t.Errorf("%q\n got %v\nwant %s", test.data, err, test.want)
		}
	}
}
