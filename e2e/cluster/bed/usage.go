package bed

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// Usage is what the apiserver has used until a time, or between two times.
type Usage struct {
	Time     time.Time
	Elapsed  time.Duration      // between the two times
	CPU      float64            // seconds of a processor
	Resident float64            // bytes of memory, at the second time
	Live     float64            // bytes of memory that are in use: heap and stacks
	Requests map[string]float64 // by verb and resource, without watches
}

// Usage reads the metrics of the apiserver. collect makes it collect garbage before.
func (f *Fleet) Usage(ctx context.Context, collect bool) (Usage, error) {
	client := f.Client.Discovery().RESTClient()
	if collect {
		if err := client.Get().AbsPath("/debug/pprof/heap").Param("gc", "1").Do(ctx).Error(); err != nil {
			return Usage{}, fmt.Errorf("collect the apiserver's garbage: %w", err)
		}
	}
	text, err := client.Get().AbsPath("/metrics").SetHeader("Accept", "text/plain").DoRaw(ctx)
	if err != nil {
		return Usage{}, fmt.Errorf("read the apiserver's metrics: %w", err)
	}
	families, err := parseMetrics(text)
	if err != nil {
		return Usage{}, fmt.Errorf("read the apiserver's metrics: %w", err)
	}
	u := Usage{
		Time:     time.Now(),
		CPU:      sum(families["process_cpu_seconds_total"]),
		Resident: sum(families["process_resident_memory_bytes"]),
		Live:     sum(families["go_memstats_heap_alloc_bytes"]) + sum(families["go_memstats_stack_inuse_bytes"]),
		Requests: make(map[string]float64),
	}
	for _, metric := range families["apiserver_request_total"].GetMetric() {
		labels := labelsOf(metric)
		if labels["resource"] == "leases" || labels["resource"] == "" || labels["verb"] == "WATCH" {
			continue
		}
		resource := strings.TrimSuffix(labels["resource"]+"/"+labels["subresource"], "/")
		u.Requests[labels["verb"]+" "+resource] += metric.GetCounter().GetValue()
	}
	return u, nil
}

func sum(family *dto.MetricFamily) (total float64) {
	for _, metric := range family.GetMetric() {
		total += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
	}
	return total
}

// Since returns what was used since an earlier time.
func (u Usage) Since(before Usage) Usage {
	u.Elapsed = u.Time.Sub(before.Time)
	u.CPU -= before.CPU
	u.Live -= before.Live
	requests := make(map[string]float64)
	for name, count := range u.Requests {
		if count -= before.Requests[name]; count > 0 {
			requests[name] = count
		}
	}
	u.Requests = requests
	return u
}

// String has the ten most frequent requests.
func (u Usage) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%.1f s, %.1f s of CPU, %.0f MiB resident", u.Elapsed.Seconds(), u.CPU, u.Resident/(1<<20))
	names := slices.Collect(maps.Keys(u.Requests))
	slices.SortFunc(names, func(a, b string) int { return int(u.Requests[b] - u.Requests[a]) })
	total := 0.0
	for _, count := range u.Requests {
		total += count
	}
	fmt.Fprintf(&text, ", %.0f requests", total)
	for _, name := range names[:min(10, len(names))] {
		fmt.Fprintf(&text, ", %s %.0f", name, u.Requests[name])
	}
	return text.String()
}

// Calls returns the number of calls of the release's service accounts until now, by account,
// verb and resource. A watch counts when it begins.
func (f *Fleet) Calls() (map[string]int, error) {
	file, err := os.Open(auditLog())
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	calls := make(map[string]int)
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct {
			Stage, Verb string
			User        struct{ Username string }
			ObjectRef   struct{ Resource string }
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		ends := "ResponseComplete"
		if event.Verb == "watch" {
			ends = "ResponseStarted"
		}
		if event.Stage == ends {
			account := event.User.Username[strings.LastIndex(event.User.Username, ":")+1:]
			calls[account+" "+event.Verb+" "+event.ObjectRef.Resource]++
		}
	}
	return calls, lines.Err()
}
