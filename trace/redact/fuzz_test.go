package redact

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// FuzzMessage decodes arbitrary bytes as a message of any method. It requires that the
// shown message is JSON, and that secrets planted in the message are not shown.
func FuzzMessage(f *testing.F) {
	methods := criMethods()
	names := slices.Sorted(maps.Keys(methods))
	add := func(method string, message proto.Message, answer bool) {
		encoded, err := proto.Marshal(message)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint16(slices.Index(names, method)), answer, encoded)
	}
	add("ImageService/PullImage", &runtime.PullImageRequest{Image: &runtime.ImageSpec{Image: "nginx"}, Auth: &runtime.AuthConfig{Password: "p"}}, false)
	add("RuntimeService/CreateContainer", &runtime.CreateContainerRequest{Config: &runtime.ContainerConfig{
		Command: []string{"a", "-p", "b"}, Envs: []*runtime.KeyValue{{Key: "A", Value: []byte("b")}}, Annotations: map[string]string{"a": "b"}}}, false)
	add("RuntimeService/ContainerStatus", &runtime.ContainerStatusResponse{Info: map[string]string{"info": "{}"}}, true)
	add("RuntimeService/Exec", &runtime.ExecResponse{Url: "http://a/exec/b"}, true)
	f.Add(uint16(0), false, []byte{0xff})
	f.Fuzz(func(t *testing.T, number uint16, answer bool, content []byte) {
		const canary = "Zq9canary7Xw"
		if bytes.Contains(content, []byte("canary")) {
			t.Skip("the input contains the canary")
		}
		m := methods[names[int(number)%len(names)]]
		kind := m.Input()
		if answer {
			kind = m.Output()
		}
		message := newMessage(kind).Interface()
		if proto.Unmarshal(content, message) != nil {
			return
		}
		if shown := Message(message); !json.Valid(shown) {
			t.Errorf("%q is not JSON", shown)
		}
		plant(message.ProtoReflect(), canary)
		if shown := Message(message); !json.Valid(shown) || strings.Contains(string(shown), canary) {
			t.Errorf("with secrets it shows %s", shown)
		}
	})
}

// criMethods returns the CRI's methods by service and name, "RuntimeService/Version".
func criMethods() map[string]protoreflect.MethodDescriptor {
	methods := make(map[string]protoreflect.MethodDescriptor)
	services := (&runtime.VersionRequest{}).ProtoReflect().Descriptor().ParentFile().Services()
	for i := range services.Len() {
		service := services.Get(i)
		for j := range service.Methods().Len() {
			m := service.Methods().Get(j)
			methods[string(service.Name())+"/"+string(m.Name())] = m
		}
	}
	return methods
}

// FuzzText surrounds a recognizable secret with arbitrary text, and requires that it is
// masked.
func FuzzText(f *testing.F) {
	f.Add("--flag", "rest")
	f.Add("a b 'c", `"d`)
	f.Add("token=", "")
	f.Add(`"\\`, `\"}"`)
	f.Add("IDENTIFIED BY ", "@")
	f.Add(strings.Repeat("pwd=", 64), strings.Repeat(`pwd=\"pwd='`, 16))
	f.Fuzz(func(t *testing.T, before, after string) {
		const canary = "Zq9canary7Xw"
		for _, text := range []string{
			before + " --password=" + canary + " " + after,
			before + " https://user:" + canary + "@host/ " + after,
			before + " Bearer " + canary + " " + after,
			before + " \"apiKey\": \"" + canary + "\" " + after,
			before + ` \"apiKey\": \"` + canary + `\" ` + after,
			before + " https://user:p@" + canary + "@host/ " + after,
			before + " WITH PASSWORD '" + canary + "' " + after,
		} {
			if strings.Contains(before+after, "canary") {
				return
			}
			for _, shown := range []string{FreeText(text), redactArg(text)} {
				if strings.Contains(shown, canary) {
					t.Errorf("%q became %q", text, shown)
				}
			}
		}
	})
}
