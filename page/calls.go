package page

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"sync"
	"time"

	"image-cri-shim/callstats"
)

const (
	maxMethods     = 100 // the CRI has about forty in each version
	maxMethodBytes = 120 // bytes of a method's name, which clients choose
	periods        = 6   // number of periods for each method
	period         = 10 * time.Minute
	bucketCount    = 20
	firstBucket    = 250 * time.Microsecond // bound of the first bucket; each bound is twice the one before, the last bucket has none
)

// otherMethods is the name of the row that methods without their own row share.
const otherMethods = "other methods"

// calls counts the calls of the last hour by method.
type calls struct {
	mutex   sync.Mutex
	methods *callstats.Table[method] // nil before the first call
}

// method counts the calls of one method by periods of ten minutes.
type method struct {
	periods [periods]counts
	failure failure
}

type counts struct {
	period  int64 // number of the period since 1970
	calls   int
	failed  int
	longest time.Duration
	buckets [bucketCount]int
}

type failure struct {
	code string
	time time.Time
}

// ObserveCall records a finished call. method is the full gRPC method name, code the gRPC
// status code by name.
func (p *Page) ObserveCall(method, code string, took time.Duration) {
	p.calls.add(time.Now(), method, code, took)
}

func (c *calls) add(now time.Time, name, code string, took time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	m := c.row(now, name, code)
	current := &m.periods[periodOf(now)%periods]
	if current.period != periodOf(now) {
		*current = counts{period: periodOf(now)}
	}
	current.calls++
	current.buckets[bucketOf(took)]++
	current.longest = max(current.longest, took)
	if code != "OK" {
		current.failed++
		m.failure = failure{code, now}
	}
}

// row returns the row of a method. A method that the runtime does not implement gets no row
// of its own, so that invented methods do not displace real ones. If the table is full, rows
// of methods without a call in the last hour are deleted.
func (c *calls) row(now time.Time, name, code string) *method {
	name = clip(name, maxMethodBytes)
	if c.methods == nil {
		c.methods = callstats.NewTable[method](maxMethods, otherMethods)
	}
	if m := c.methods.Find(name); m != nil {
		return m
	}
	if code == "Unimplemented" {
		return c.methods.Other()
	}
	if c.methods.Full() {
		c.methods.DeleteFunc(func(m *method) bool { return m.sum(now).calls == 0 })
	}
	return c.methods.Add(name)
}

// sum adds up the periods of the last hour.
func (m *method) sum(now time.Time) counts {
	var sum counts
	for _, c := range m.periods {
		if periodOf(now)-c.period >= periods {
			continue
		}
		sum.calls += c.calls
		sum.failed += c.failed
		sum.longest = max(sum.longest, c.longest)
		for i, n := range c.buckets {
			sum.buckets[i] += n
		}
	}
	return sum
}

func periodOf(now time.Time) int64 { return now.Unix() / int64(period/time.Second) }

func bucketOf(took time.Duration) int {
	return min(bits.Len64(uint64(max(took, 0)/firstBucket)), bucketCount-1)
}

// boundOf returns the exclusive upper bound of a bucket, in seconds. The last bucket has none.
func boundOf(bucket int) float64 {
	if bucket == bucketCount-1 {
		return math.Inf(1)
	}
	return (firstBucket << bucket).Seconds()
}

// methodCalls are the statistics of one method. Durations are in seconds.
type methodCalls struct {
	Method   string    `json:"method"`
	Calls    int       `json:"calls"`
	Failed   int       `json:"failed"`
	P50      float64   `json:"half"`
	P95      float64   `json:"most"`
	Longest  float64   `json:"longest"`
	Buckets  []int     `json:"buckets"`        // calls shorter than 0.25 ms, 0.5 ms, 1 ms and so on
	Code     string    `json:"code,omitempty"` // gRPC code of the last failure within the hour
	FailedAt time.Time `json:"failedAt,omitzero"`
}

// list returns the methods with calls in the last hour, by name.
func (c *calls) list(now time.Time) []methodCalls {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	list := []methodCalls{}
	if c.methods == nil {
		return list
	}
	for name, m := range c.methods.All() {
		sum := m.sum(now)
		if sum.calls == 0 {
			continue
		}
		row := methodCalls{
			Method: name, Calls: sum.calls, Failed: sum.failed,
			P50: sum.quantile(50), P95: sum.quantile(95), Longest: sum.longest.Seconds(), Buckets: sum.buckets[:],
		}
		if sum.failed > 0 {
			row.Code, row.FailedAt = m.failure.code, m.failure.time
		}
		list = append(list, row)
	}
	slices.SortFunc(list, func(a, b methodCalls) int { return cmp.Compare(a.Method, b.Method) })
	return list
}

// quantile returns the duration, in seconds, that a percentage of the calls did not exceed,
// rounded up to a bucket's bound.
func (c counts) quantile(percent int) float64 {
	return min(callstats.Quantile(c.buckets[:], percent, boundOf), c.longest.Seconds())
}
