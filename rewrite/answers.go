package rewrite

import (
	"iter"
	"sync"
)

// answers hands out the answers of the registries one by one, and can look ahead.
// Its methods may be called concurrently.
type answers struct {
	mu      sync.Mutex
	pull    func() (Answer, bool)
	end     func()
	ahead   []Answer // pulled by has, not yet handed out
	stopped bool
}

func newAnswers(all iter.Seq[Answer]) *answers {
	a := &answers{}
	a.pull, a.end = iter.Pull(all)
	return a
}

// next returns the next answer. It waits for it.
func (a *answers) next() (Answer, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.ahead) > 0 {
		answer := a.ahead[0]
		a.ahead = a.ahead[1:]
		return answer, true
	}
	return a.pull()
}

// has reports whether an answer that next has not returned yet fulfils a
// condition. It waits for the answers up to the first one that does.
func (a *answers) has(condition func(Answer) bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := 0; !a.stopped; i++ {
		if i == len(a.ahead) {
			answer, ok := a.pull()
			if !ok {
				return false
			}
			a.ahead = append(a.ahead, answer)
		}
		if condition(a.ahead[i]) {
			return true
		}
	}
	return false
}

func (a *answers) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	a.end()
}
