package trace

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"time"
)

// processes remembers what the clients' programs are called. It is safe for concurrent
// use.
type processes struct {
	mutex sync.Mutex
	known map[int]processName
}

type processName struct {
	name string
	at   time.Time
}

// A process ID may be another's soon; clients such as crictl live for a moment only.
const (
	processAge    = time.Second
	mostProcesses = 1 << 10
)

// name is the name of a process's program (proc(5), comm), empty where there is none.
func (p *processes) name(process int, now time.Time) string {
	if process <= 0 {
		return ""
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if known, ok := p.known[process]; ok && now.Sub(known.at) < processAge {
		return known.name
	}
	if p.known == nil || len(p.known) >= mostProcesses {
		p.known = make(map[int]processName)
	}
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", process)) // it may be gone
	name := string(bytes.TrimSpace(comm))
	p.known[process] = processName{name, now}
	return name
}
