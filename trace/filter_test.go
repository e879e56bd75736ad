package trace

import (
	"reflect"
	"testing"
	"time"
)

func TestFilter(t *testing.T) {
	call := sampleCall()
	good := Event{Kind: KindCall, Method: "/runtime.v1alpha2.RuntimeService/Version", Code: "OK", Seconds: 0.001, Pod: "d0f1a2", Client: &Client{Process: 900, User: 1000, Name: "node-problem-de"}}
	message := Event{Kind: KindMessage, Method: "/runtime.v1.RuntimeService/GetContainerEvents", Pod: "default/web", Client: &Client{Process: 0, User: -1}}
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
		"not method":        {Filter{NotMethods: []string{"pull*", "getcontainerevents"}}, false, true, false, true},
		"but not method":    {Filter{Methods: []string{"*Image*"}, NotMethods: []string{"PullImage"}}, false, false, false, true},
		"client":            {Filter{Clients: []string{"KUBELET"}}, true, false, false, true},
		"clients":           {Filter{Clients: []string{"crictl", "kube*"}}, true, false, false, true},
		"cut client":        {Filter{Clients: []string{"node-problem-detector"}}, false, true, false, true},
		"process":           {Filter{Clients: []string{"812"}}, true, false, false, true},
		"part of a process": {Filter{Clients: []string{"81"}}, false, false, false, true},
		"unknown process":   {Filter{Clients: []string{"0", "-1", "*"}}, true, true, false, true},
		"user":              {Filter{Clients: []string{"uid:1000"}}, false, true, false, true},
		"unknown user":      {Filter{Clients: []string{"uid:0"}}, true, false, false, true},
		"namespace":         {Filter{Namespaces: []string{"Default"}}, true, false, true, true},
		"namespaces":        {Filter{Namespaces: []string{"kube-*", "def*"}}, true, false, true, true},
		"another namespace": {Filter{Namespaces: []string{"defaul", "web"}}, false, false, false, true},
		"every namespace":   {Filter{Namespaces: []string{"*"}}, true, false, true, true},
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
	want := Filter{Methods: []string{"a", "b"}, NotMethods: []string{"e"}, Clients: []string{"f", "uid:7"}, Namespaces: []string{"g"}, Pods: []string{"c"}, Images: []string{"d&e=f"}, Errors: true, Slower: 1500 * time.Millisecond}
	if got, err := ParseFilter(want.Values()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []map[string][]string{{"method": {"["}}, {"pod": {"["}}, {"not-method": {"["}}, {"client": {"["}}, {"client": {"uid:"}}, {"client": {"uid:root"}}, {"client": {"uid:-1"}}, {"namespace": {"["}}, {"slower-than": {"x"}}, {"slower-than": {"-1s"}}} {
		if _, err := ParseFilter(bad); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}
