package trace

import (
	"reflect"
	"testing"
	"time"
)

func TestFilter(t *testing.T) {
	call := sampleCall()
	good := Event{Kind: KindCall, Method: "/runtime.v1alpha2.RuntimeService/Version", Code: "OK", Seconds: 0.001}
	message := Event{Kind: KindMessage, Method: "/runtime.v1.RuntimeService/GetContainerEvents", Pod: "default/web"}
	lost := Event{Kind: KindLost}
	for name, test := range map[string]struct {
		filter                    Filter
		call, good, message, lost bool
	}{
		"nothing":           {Filter{}, true, true, true, true},
		"method":            {Filter{Methods: []string{"pullimage"}}, true, false, false, true},
		"methods":           {Filter{Methods: []string{"PullImage", "Version"}}, true, true, false, true},
		"old version":       {Filter{Methods: []string{"v1alpha2.*"}}, false, true, false, true},
		"pattern":           {Filter{Methods: []string{"*Image*"}}, true, false, false, true},
		"full name":         {Filter{Methods: []string{"/runtime.v1.ImageService/PullImage"}}, true, false, false, true},
		"pod":               {Filter{Pods: []string{"web"}}, true, false, true, true},
		"pod and namespace": {Filter{Pods: []string{"default/*"}}, true, false, true, true},
		"another pod":       {Filter{Pods: []string{"we"}}, false, false, false, true},
		"image":             {Filter{Images: []string{"NGINX"}}, true, false, false, true},
		"served image":      {Filter{Images: []string{"hub:5000/library"}}, true, false, false, true},
		"errors":            {Filter{Errors: true}, true, false, false, true},
		"slow":              {Filter{Slower: time.Second}, true, false, false, true},
		"both":              {Filter{Errors: true, Methods: []string{"Version"}}, false, false, false, true},
	} {
		for i, e := range []struct {
			event Event
			want  bool
		}{{call, test.call}, {good, test.good}, {message, test.message}, {lost, test.lost}} {
			if got := test.filter.Match(&e.event); got != e.want {
				t.Errorf("%s: event %d: got %t", name, i, got)
			}
		}
	}
}

func TestFilterValues(t *testing.T) {
	want := Filter{Methods: []string{"a", "b"}, Pods: []string{"c"}, Images: []string{"d&e=f"}, Errors: true, Slower: 1500 * time.Millisecond}
	if got, err := ParseFilter(want.Values()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []map[string][]string{{"method": {"["}}, {"pod": {"["}}, {"slower-than": {"x"}}, {"slower-than": {"-1s"}}} {
		if _, err := ParseFilter(bad); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}
