package trace

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// FuzzSubject decodes arbitrary bytes as a message of any method, and finds its subject.
func FuzzSubject(f *testing.F) {
	names := slices.Sorted(maps.Keys(methods))
	request, err := proto.Marshal(&runtime.CreateContainerRequest{PodSandboxId: "a", Config: &runtime.ContainerConfig{Mounts: []*runtime.Mount{{}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint16(slices.Index(names, v1+"CreateContainer")), false, request)
	f.Add(uint16(slices.Index(names, events)), true, []byte{0x0a, 1, 'c'})
	f.Fuzz(func(_ *testing.T, number uint16, answer bool, content []byte) {
		m := methods[names[int(number)%len(names)]]
		kind := m.request
		if answer {
			kind = m.response
		}
		newNameCache().subjectOf(decode(kind, content))
	})
}

// FuzzRecording reads arbitrary bytes as a recording. Events must stay the same when they
// are written and read again, and must have no control characters as text.
func FuzzRecording(f *testing.F) {
	var sample bytes.Buffer
	if err := errors.Join(WriteHeader(&sample, NewHeader("v1")), WriteEvent(&sample, sampleCall()), WriteEvent(&sample, Event{Kind: KindLost, Lost: 3})); err != nil {
		f.Fatal(err)
	}
	f.Add(sample.Bytes())
	f.Add(sample.Bytes()[:sample.Len()-3])
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"format":"image-cri-shim trace","version":1,"since":"2026-11-25T00:51:28Z"}` + "\n" + `{"version":1,"kind":"call","decisions":[{"asked":"a","namespace":"n","pod":"p"}]}` + "\n"))
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
