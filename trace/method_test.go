package trace

import "testing"

// TestMethods requires all methods of the CRI, in both versions.
func TestMethods(t *testing.T) {
	for name, m := range methods {
		if m.request == nil || m.response == nil {
			t.Errorf("%s has no types", name)
		}
	}
	for _, version := range []string{"v1", "v1alpha2"} {
		for method, streams := range map[string]bool{"RuntimeService/RunPodSandbox": false, "RuntimeService/GetContainerEvents": true, "ImageService/StreamImages": true, "ImageService/PullImage": false} {
			if m := methods["/runtime."+version+"."+method]; m == nil || m.streaming != streams {
				t.Errorf("%s %s: %+v", version, method, m)
			}
		}
	}
}
