package trace

import (
	"sync"
	"time"

	"image-cri-shim/unixsocket"
)

// processNames caches the names of the clients' programs by process ID. It is safe for
// concurrent use.
type processNames struct {
	mutex sync.Mutex
	cache map[int]processName
}

type processName struct {
	name string
	at   time.Time
}

// Names are cached only briefly: process IDs are reused, and clients such as crictl are
// short-lived.
const (
	processTTL   = time.Second
	maxProcesses = 1 << 10
)

// name returns the name of a process's program (comm in proc(5)), or "" if it is unknown.
func (p *processNames) name(process int, now time.Time) string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if known, ok := p.cache[process]; ok && now.Sub(known.at) < processTTL {
		return known.name
	}
	if p.cache == nil || len(p.cache) >= maxProcesses {
		p.cache = make(map[int]processName)
	}
	name := unixsocket.ProcessName(process)
	p.cache[process] = processName{name, now}
	return name
}
