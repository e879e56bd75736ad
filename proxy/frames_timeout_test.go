package proxy

import (
	"math"
	"testing"
	"time"
)

func TestParseTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0n": 0, "1n": 1, "5u": 5 * time.Microsecond, "10m": 10 * time.Millisecond, "99999999S": 99999999 * time.Second,
		"2M": 2 * time.Minute, "1H": time.Hour, "99999999H": math.MaxInt64, "00000001S": time.Second,
	} {
		if got, ok := parseTimeout(text); !ok || got != want {
			t.Errorf("%s is %v and %v, want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "S", "1", "1s", "-1S", "+1S", "1.5S", " 1S", "1_0S", "100000000S", "1 S"} {
		if got, ok := parseTimeout(text); ok {
			t.Errorf("%q is %v, want none", text, got)
		}
	}
}

// A forwarded deadline is never shorter than the original, and only slightly longer.
func TestFormatTimeout(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "0n", 0: "0n", 1: "1n", 99_999_999: "99999999n", 100_000_000: "100000u", 100_000_001: "100001u",
		2 * time.Minute: "120000m", 28 * time.Hour: "100800S", math.MaxInt64: "2562048H",
	} {
		got := formatTimeout(d)
		if back, ok := parseTimeout(got); got != want || !ok || back < d {
			t.Errorf("%v is %s, want %s; it comes back as %v", d, got, want, back)
		}
	}
}
