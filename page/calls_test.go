package page

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func TestBuckets(t *testing.T) {
	for _, test := range []struct {
		took   time.Duration
		bucket int
	}{
		{-time.Second, 0}, {0, 0}, {249 * time.Microsecond, 0},
		{250 * time.Microsecond, 1}, {499 * time.Microsecond, 1},
		{500 * time.Microsecond, 2}, {time.Millisecond, 3}, {time.Second, 12},
		{time.Hour, bucketCount - 1},
	} {
		if got := bucketOf(test.took); got != test.bucket {
			t.Errorf("%v is in bucket %d, want %d", test.took, got, test.bucket)
		}
		if bound := boundOf(bucketOf(test.took)); test.took.Seconds() >= bound && test.bucket < bucketCount-1 {
			t.Errorf("%v is not below its bucket's bound of %v s", test.took, bound)
		}
	}
}

func TestCallsOfTheLastHour(t *testing.T) {
	var c calls
	for i := range 100 {
		c.add(noon, "/a/B", "OK", time.Duration(i+1)*time.Millisecond)
	}
	c.add(noon.Add(30*time.Minute), "/a/B", "NotFound", 200*time.Millisecond)
	shown := c.list(noon.Add(30 * time.Minute))
	if len(shown) != 1 {
		t.Fatalf("shown: %+v", shown)
	}
	got := shown[0]
	if got.Calls != 101 || got.Failed != 1 || got.Code != "NotFound" || !got.FailedAt.Equal(noon.Add(30*time.Minute)) {
		t.Errorf("counted %+v", got)
	}
	// The 51st of 101 calls took 51 ms, the 96th 96 ms. Their buckets end at 64 and 128 ms.
	if got.P50 != 0.064 || got.P95 != 0.128 || got.Longest != 0.2 {
		t.Errorf("half took %v, 95 of 100 %v, the longest %v", got.P50, got.P95, got.Longest)
	}
	if got := c.list(noon.Add(time.Hour)); len(got) != 1 || got[0].Calls != 1 {
		t.Errorf("an hour after the first: %+v", got)
	}
	if got := c.list(noon.Add(2 * time.Hour)); len(got) != 0 {
		t.Errorf("an hour after the last: %+v", got)
	}
	c.add(noon.Add(time.Hour), "/a/B", "OK", time.Millisecond) // reuses the period of noon
	if got := c.list(noon.Add(time.Hour)); got[0].Calls != 2 || got[0].Longest != 0.2 {
		t.Errorf("after another call: %+v", got)
	}
}

func TestQuantileIsNotLongerThanTheLongest(t *testing.T) {
	var c calls
	c.add(noon, "/a/B", "OK", 70*time.Millisecond)
	if got := c.list(noon)[0]; got.P50 != 0.07 || got.P95 != 0.07 {
		t.Errorf("got %+v", got)
	}
	c.add(noon, "/a/C", "OK", time.Hour)
	if got := c.list(noon)[1]; got.P50 != 3600 || got.Buckets[bucketCount-1] != 1 {
		t.Errorf("got %+v", got)
	}
}

// TestInventedMethods requires that methods invented by clients use bounded memory and do
// not displace real methods.
func TestInventedMethods(t *testing.T) {
	var c calls
	c.add(noon, "/a/Used", "OK", time.Millisecond)
	for i := range 10 * maxMethods {
		c.add(noon, fmt.Sprintf("/unknown/%d", i), "Unimplemented", time.Millisecond)
		c.add(noon, fmt.Sprintf("/a/%d%s", i, strings.Repeat("x", 1000)), "Unavailable", time.Millisecond)
	}
	shown := c.list(noon)
	if len(shown) > maxMethods+1 {
		t.Errorf("%d methods are kept", len(shown))
	}
	counted := 0
	for _, method := range shown {
		counted += method.Calls
		if len(method.Method) > maxMethodBytes+len("…") {
			t.Errorf("a method of %d bytes is kept", len(method.Method))
		}
		if strings.HasPrefix(method.Method, "/unknown") {
			t.Errorf("%s has a row", method.Method)
		}
	}
	if counted != 1+20*maxMethods {
		t.Errorf("%d calls are counted", counted)
	}
	// An hour later, their rows are free again.
	later := noon.Add(2 * time.Hour)
	c.add(later, "/a/New", "OK", time.Millisecond)
	if shown := c.list(later); len(shown) != 1 || shown[0].Method != "/a/New" {
		t.Errorf("later there are %+v", shown)
	}
}

func BenchmarkObserveCall(b *testing.B) {
	p := New(healthySources())
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p.ObserveCall("/runtime.v1.RuntimeService/ContainerStatus", "OK", time.Millisecond)
		}
	})
}
