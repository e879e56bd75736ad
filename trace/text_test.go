package trace

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestText(t *testing.T) {
	local := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = local })
	hostile := sampleCall()
	hostile.Request, hostile.Pod, hostile.Client = nil, "a\x1b[2J\n/b\u009b", nil
	for name, test := range map[string]struct {
		event Event
		want  string
	}{
		"call": {sampleCall(), `01:02:03.000  kubelet[812]        PullImage                    1.235s  NotFound             123B     20MiB  default/web app  nginx:1.25  as hub:5000/library/nginx:1.25  from https://hub:5000  (found)  named in the runtime  error: there is <none>
  request
    {
      "image": {
        "image": "nginx:1.25"
      }
    }
`},
		"message": {Event{Kind: KindMessage, Method: "/runtime.v1alpha2.RuntimeService/GetContainerEvents", Client: &Client{Process: 4}, ResponseBytes: 12},
			"00:00:00.000  [4]                 v1alpha2.GetContainerEvents          -  message                 -       12B\n"},
		"other": {Event{Kind: KindCall, Method: "/containerd.services.events.v1.Events/Subscribe", Code: "OK"},
			"00:00:00.000  -                   Events/Subscribe                 0s  OK                     0B        0B\n"},
		"in the ledger": {Event{Kind: KindCall, Method: "/runtime.v1.ImageService/PullImage", Code: "OK", Decisions: []Decision{{Asked: "nginx", Names: "ledger"}}},
			"00:00:00.000  -                   PullImage                        0s  OK                     0B        0B  nginx  name kept in the ledger\n"},
		"failed pull": {Event{Kind: KindCall, Method: "/runtime.v1.ImageService/PullImage", Code: "NotFound", Images: []string{"nginx"},
			Error:     "no such host; image-cri-shim tried before: http://hub (absent)",
			Decisions: []Decision{{Asked: "nginx", Reason: "the original registry failed; tried before: http://hub (absent)"}}},
			"00:00:00.000  -                   PullImage                        0s  NotFound               0B        0B  nginx  (the original registry failed)  error: no such host\n  tried before: http://hub (absent)\n"},
		"refused pull": {Event{Kind: KindCall, Method: "/runtime.v1.ImageService/PullImage", Code: "NotFound", Images: []string{"nginx"},
			Error:     "image-cri-shim: no configured registry has nginx, and the original registry may not be used (fallback: never), tried: http://hub (absent)",
			Decisions: []Decision{{Asked: "nginx", Reason: "fallback: never; tried before: http://hub (absent)"}}},
			"00:00:00.000  -                   PullImage                        0s  NotFound               0B        0B  nginx  (fallback: never)  error: image-cri-shim: no configured registry has nginx, and the original registry may not be used (fallback: never)\n  tried before: http://hub (absent)\n"},
		"pull after another": {Event{Kind: KindCall, Method: "/runtime.v1.ImageService/PullImage", Code: "OK", Images: []string{"nginx"},
			Decisions: []Decision{{Asked: "nginx", Reason: "the original registry; tried before: http://hub (absent)"}}},
			"00:00:00.000  -                   PullImage                        0s  OK                     0B        0B  nginx  (the original registry; tried before: http://hub (absent))\n"},
		"one lost": {Event{Kind: KindLost, Lost: 1}, "00:00:00.000  1 event lost: the reader was too slow\n"},
		"lost":     {Event{Kind: KindLost, Lost: 12}, "00:00:00.000  12 events lost: the reader was too slow\n"},
		"hostile":  {hostile, "01:02:03.000  -                   PullImage                    1.235s  NotFound             123B     20MiB  a [2J /b  app  nginx:1.25  as hub:5000/library/nginx:1.25  from https://hub:5000  (found)  named in the runtime  error: there is <none>\n"},
	} {
		var text bytes.Buffer
		if err := WriteText(&text, test.event); err != nil {
			t.Fatal(err)
		}
		if text.String() != test.want {
			t.Errorf("%s:\n got %q\nwant %q", name, text.String(), test.want)
		}
	}
}

// TestDeepText requires that a message is not indented if the indentation would make it
// thousands of times as long.
func TestDeepText(t *testing.T) {
	const levels = 5000
	body := strings.Repeat(`["]{}\"\\",`, levels) + "[" + strings.Repeat("1,", 50_000) + "1]" + strings.Repeat("]", levels)
	if got := depth([]byte(body)); got != levels+1 {
		t.Errorf("%d levels", got)
	}
	var text bytes.Buffer
	if err := WriteText(&text, Event{Kind: KindMessage, Response: json.RawMessage(body)}); err != nil {
		t.Fatal(err)
	}
	if text.Len() > 2*len(body) || !strings.Contains(text.String(), body) {
		t.Errorf("%d bytes became %d", len(body), text.Len())
	}
}
