package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// results are the measurements of a run, in the form in which they are saved.
type results struct {
	Machine  machine
	Date     string
	Seconds  int // duration of the run
	Rounds   int
	Quick    bool // too short for conclusions
	Tables   []*table
	Programs []*figures
	Targets  []targetResult
}

// machine describes the machine of the run.
type machine struct {
	Cores     int
	Processor string
	Kernel    string
	Go        string
	// Load is the load average over the five minutes before the run. It shows the other
	// work of the machine.
	Load float64
	// Others are the version lines of the other proxies.
	Others []string
}

func thisMachine() machine {
	m := machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:]) + " " + unix.ByteSliceToString(name.Machine[:])
	}
	processors, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(processors)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
			m.Processor = strings.TrimSpace(value)
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	_, _ = fmt.Sscan(string(load), new(float64), &m.Load)
	for _, name := range []string{"haproxy", "nginx"} {
		if path, err := lookPath(name); err == nil {
			said, _ := exec.Command(path, "-v").CombinedOutput()
			first, _, _ := strings.Cut(string(said), "\n")
			m.Others = append(m.Others, first)
		}
	}
	return m
}

func (b *bench) results(took time.Duration) *results {
	r := &results{
		Machine: b.machine,
		Date:    time.Now().UTC().Format(time.DateOnly),
		Seconds: int(took.Seconds()),
		Rounds:  b.size.rounds,
		Quick:   b.size == quick,
		Tables:  b.tables,
	}
	for _, c := range b.contenders {
		f := b.figures[c]
		if f == nil {
			f = &figures{Contender: c.name, Foreign: c.foreign(), Missing: c.missing}
		}
		r.Programs = append(r.Programs, f)
	}
	r.Targets = judgeTargets(r)
	return r
}

// failure returns an error that lists the workloads that this project's contenders failed.
func (r *results) failure() error {
	var all []error
	for _, t := range r.Tables {
		for _, o := range t.Outcomes {
			if p := r.program(o.Contender); o.Failed != "" && p.Missing == "" && !p.Foreign {
				all = append(all, fmt.Errorf("%s failed %q: %s", o.Contender, t.Name, o.Failed))
			}
		}
	}
	return errors.Join(all...)
}

// table returns the outcomes of the workload whose name has this prefix.
func (r *results) table(name string) *table {
	for _, t := range r.Tables {
		if strings.HasPrefix(t.Name, name) {
			return t
		}
	}
	return &table{}
}

func (r *results) program(contender string) *figures {
	for _, p := range r.Programs {
		if p.Contender == contender {
			return p
		}
	}
	return &figures{Contender: contender}
}

// The methods below derive figures of a workload: of one contender, relative to another
// one in each round.

// added returns by how many microseconds a percentile exceeds that of the direct way.
func (t *table) added(contender string, percentile func(sample) float64) spread {
	return pairwise(t.of(contender).Samples, t.of("direct").Samples, func(a, direct sample) float64 { return percentile(a) - percentile(direct) })
}

// throughput returns the throughput relative to that of another contender.
func (t *table) throughput(contender, other string) spread {
	return pairwise(t.of(contender).Samples, t.of(other).Samples, func(a, b sample) float64 { return a.PerSecond / b.PerSecond })
}

// addedRatio returns a contender's added p50 divided by that of another one. It leaves out
// rounds in which the other one added nothing.
func (t *table) addedRatio(contender, other string) spread {
	direct := map[int]float64{}
	for _, s := range t.of("direct").Samples {
		direct[s.Round] = s.P50
	}
	return pairwise(t.of(contender).Samples, t.of(other).Samples, func(a, b sample) float64 {
		base := b.P50 - direct[b.Round]
		if base <= 0 {
			return math.NaN()
		}
		return (a.P50 - direct[a.Round]) / base
	})
}
