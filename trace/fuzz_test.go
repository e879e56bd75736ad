package trace

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// FuzzShow shows arbitrary bytes as a message of any method, and the same message with
// secrets in all places that are for some: what comes out is JSON and has none of them.
func FuzzShow(f *testing.F) {
	names := slices.Sorted(maps.Keys(methods))
	add := func(method string, message proto.Message, answer bool) {
		encoded, err := proto.Marshal(message)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint16(slices.Index(names, "/runtime.v1."+method)), answer, encoded)
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
			t.Skip("it would find it itself")
		}
		m := methods[names[int(number)%len(names)]]
		kind := m.request
		if answer {
			kind = m.response
		}
		message := decode(kind, content)
		if message == nil {
			return
		}
		if shown := show(message); !json.Valid(shown) {
			t.Errorf("%q is no JSON", shown)
		}
		newNames().about(message)
		plant(message.ProtoReflect(), canary)
		if shown := show(message); !json.Valid(shown) || strings.Contains(string(shown), canary) {
			t.Errorf("with secrets it shows %s", shown)
		}
	})
}

// FuzzText masks arbitrary texts around a secret that is marked as one.
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
			for _, shown := range []string{prose(text), argument(text)} {
				if strings.Contains(shown, canary) {
					t.Errorf("%q became %q", text, shown)
				}
			}
		}
	})
}

// FuzzRecording reads arbitrary bytes as a recording. What is read is written, and read
// again, the same; as text it has no control characters.
func FuzzRecording(f *testing.F) {
	var sample bytes.Buffer
	if err := errors.Join(WriteHeader(&sample, NewHeader("v1")), WriteEvent(&sample, sampleCall()), WriteEvent(&sample, Event{Kind: KindLost, Lost: 3})); err != nil {
		f.Fatal(err)
	}
	f.Add(sample.Bytes())
	f.Add(sample.Bytes()[:sample.Len()-3])
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		recording, err := OpenRecording(bytes.NewReader(content))
		if err != nil {
			return
		}
		var again bytes.Buffer
		_ = WriteHeader(&again, recording.Header)
		var summary Summary
		for {
			event, err := recording.Next()
			if err != nil {
				break
			}
			before := again.Len()
			if err := WriteEvent(&again, event); err != nil {
				t.Fatal(err)
			}
			written := bytes.Clone(again.Bytes()[before:])
			checkText(t, event)
			summary.Add(event)
			reread, err := (&Recording{reader: newLineReader(written)}).Next()
			if err != nil || !bytes.Equal(encode(reread), written) {
				t.Errorf("%s became %s, %v", written, encode(reread), err)
			}
		}
		if err := summary.Write(io.Discard, true); err != nil {
			t.Error(err)
		}
	})
}

func checkText(t *testing.T, event Event) {
	t.Helper()
	text := bytes.NewBuffer(encode(event))
	if err := WriteText(text, event); err != nil {
		t.Fatal(err)
	}
	if i := bytes.IndexFunc(text.Bytes(), func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f || r >= 0x80 && r < 0xa0 }); i >= 0 {
		t.Errorf("%q has a control character at %d", text.Bytes(), i)
	}
}
