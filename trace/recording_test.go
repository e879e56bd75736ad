package trace

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

func newLineReader(content []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(content)) }

// sampleCall returns an event with a value in each field.
func sampleCall() Event {
	return Event{
		Version: formatVersion, Kind: KindCall, Time: time.Date(2026, 11, 25, 1, 2, 3, 456789, time.UTC), ID: 7, Client: &Client{Process: 812, User: 0, Name: "kubelet"},
		Method: "/runtime.v1.ImageService/PullImage", Seconds: 1.2345, Code: "NotFound", Error: "there is <none>", RequestBytes: 123, ResponseBytes: 20 << 20,
		Pod: "default/web", Container: "app", Images: []string{"nginx:1.25"},
		Decisions: []Decision{{Asked: "nginx:1.25", Served: "hub:5000/library/nginx:1.25", Registry: "https://hub:5000", Reason: "found", Names: "runtime"}},
		Request:   json.RawMessage(`{"image":{"image":"nginx:1.25"}}`),
	}
}

func TestRecording(t *testing.T) {
	want := []Event{sampleCall(), {Version: 1, Kind: KindLost, Time: sampleCall().Time, Lost: 3}, {Version: 1, Kind: KindMessage, Method: "/m", ResponseBytes: 4}}
	var file bytes.Buffer
	if err := WriteHeader(&file, NewHeader("v1.2")); err != nil {
		t.Fatal(err)
	}
	for _, event := range want {
		if err := WriteEvent(&file, event); err != nil {
			t.Fatal(err)
		}
	}
	whole := file.String()
	for cut := range len(whole) + 1 {
		got, err := readAll(whole[:cut])
		switch lines := strings.Count(whole[:cut], "\n"); {
		case lines == 0:
			if err == nil || !strings.Contains(err.Error(), "not a trace") {
				t.Fatalf("cut at %d: %v", cut, err)
			}
		case len(got) != lines-1 || !reflect.DeepEqual(got, want[:lines-1]):
			t.Fatalf("cut at %d: got %+v, want %d events", cut, got, lines-1)
		case strings.HasSuffix(whole[:cut], "\n") != (err == nil) || err != nil && !errors.Is(err, ErrTruncated):
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

// readAll returns all events, and no error at the end of the recording.
func readAll(content string) ([]Event, error) {
	recording, err := OpenRecording(strings.NewReader(content))
	if err != nil {
		return nil, err
	}
	all := []Event{}
	for {
		event, err := recording.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, event)
	}
}

func TestNotARecording(t *testing.T) {
	const header = `{"format":"image-cri-shim trace","version":1}` + "\n"
	for content, want := range map[string]string{
		"": "not a trace of image-cri-shim",
		`{"format":"image-cri-shim trace","version":2,"shim":"v9"}` + "\n":        "unsupported version of the trace format: found 2, expected 1 (written by image-cri-shim \"v9\")",
		`{"format":"image-cri-shim trace","version":2,"shim":"\u001b[2J"}` + "\n": `(written by image-cri-shim "\x1b[2J")`,
		`{"format":"another"}` + "\n":                                             "not a trace",
		"\x00\x01\n":                                                              "not a trace",
		header + "{}\n":                                                           `line 2: unknown event kind ""`,
		header + `{"version":2,"kind":"call"}` + "\n":                             "line 2: unsupported version of the trace format: found 2, expected 1",
		header + `{"kind":"call",` + "\n":                                         "line 2: ",
	} {
		if _, err := readAll(content); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", content, err, want)
		}
	}
}

// TestHostileRecording requires bounded memory for a malicious recording.
func TestHostileRecording(t *testing.T) {
	const header = `{"format":"image-cri-shim trace","version":1}` + "\n"
	all, err := readAll(header + `{"kind":"call","images":["a"` + strings.Repeat(`,"b"`, 1000) + `],"decisions":[{"asked":"a"}` + strings.Repeat(`,{}`, 1000) + "]}\n")
	if err != nil || len(all) != 1 || len(all[0].Images) != maxImages || !reflect.DeepEqual(all[0].Decisions, []Decision{{Asked: "a"}}) {
		t.Errorf("got %+v, %v", all, err)
	}
	if _, err := readAll(header + strings.Repeat(" ", maxLineBytes+64<<10)); err == nil || !strings.Contains(err.Error(), "line 2 is longer than 16777216 bytes") {
		t.Errorf("got %v", err)
	}
}

// TestEncode requires that a line has no control characters, and that decoding it returns
// the original text.
func TestEncode(t *testing.T) {
	hostile := Event{Kind: KindCall, Error: "a\x1b\x7f\u0080\u009b2J\u00a0é", Request: json.RawMessage("{\"\u009b\":1}")}
	line := encode(hostile)
	if want := `{"version":1,"kind":"call","time":"0001-01-01T00:00:00Z","error":"a\u001b\u007f\u0080\u009b2J` + "\u00a0é" + `","request":{"\u009b":1}}` + "\n"; string(line) != want {
		t.Errorf("got %q, want %q", line, want)
	}
	var again Event
	if err := json.Unmarshal(line, &again); err != nil || again.Error != hostile.Error {
		t.Errorf("%q became %q, %v", hostile.Error, again.Error, err)
	}
	if line := encode(Event{Request: json.RawMessage("\"\x9b\"")}); !strings.Contains(string(line), `"request":"\ufffd"`) {
		t.Errorf("got %q", line)
	}
}
