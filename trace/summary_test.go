package trace

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	var s Summary
	for i := 1; i <= 1000; i++ {
		s.Add(Event{Kind: KindCall, Method: "/runtime.v1.RuntimeService/Version", Code: "OK", Seconds: float64(i) / 1000, RequestBytes: 1, ResponseBytes: 10})
	}
	s.Add(Event{Kind: KindCall, Method: "/runtime.v1.ImageService/PullImage", Code: "NotFound"})
	s.Add(Event{Kind: KindMessage, Method: "/runtime.v1.RuntimeService/GetContainerEvents", ResponseBytes: 5})
	s.Add(Event{Kind: KindLost, Lost: 4})
	all := s.Methods()
	if len(all) != 3 || all[1].Errors != 1 || all[1].Max != 0 || all[2].Messages != 1 || all[2].Calls != 0 {
		t.Fatalf("got %+v", all)
	}
	m := all[0]
	if m.Calls != 1000 || m.Errors != 0 || m.RequestBytes != 1000 || m.ResponseBytes != 10_000 || m.Max != 1 {
		t.Errorf("got %+v", m)
	}
	for want, got := range map[float64]float64{0.5: m.P50, 0.9: m.P90, 0.99: m.P99} {
		if math.Abs(got-want)/want > 0.0101 {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	var text bytes.Buffer
	if err := s.Write(&text, true); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text.String(), "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[0], "METHOD ") || !strings.HasPrefix(lines[1], "Version ") || !strings.Contains(lines[1], " 1s ") {
		t.Errorf("got\n%s", text.String())
	}
}

// TestManyMethods requires that invented methods use bounded memory, and that their names
// are printed without control characters.
func TestManyMethods(t *testing.T) {
	var s Summary
	for i := range 2000 {
		s.Add(Event{Kind: KindCall, Method: fmt.Sprintf("/service/\u009b%d", i), Seconds: math.MaxFloat64})
	}
	s.Add(Event{Kind: KindCall, Method: "/service/" + strings.Repeat("long", maxTextBytes)})
	s.Add(Event{Kind: KindCall, Method: "/service/\u009b0"})
	all := s.Methods()
	if len(all) != maxMethods+1 || all[0].Method != otherMethods || all[0].Calls != 2001-maxMethods || all[1].Calls != 2 {
		t.Errorf("%d methods, %+v", len(all), all[:2])
	}
	if last := bucketOf(math.MaxFloat64); last > 4000 {
		t.Errorf("got %d buckets", last)
	}
	for _, text := range []bool{false, true} {
		var written bytes.Buffer
		if err := s.Write(&written, text); err != nil || strings.Contains(written.String(), "\u009b") || !strings.Contains(written.String(), otherMethods) {
			t.Errorf("text %t: %.100q, %v", text, written.String(), err)
		}
	}
}
