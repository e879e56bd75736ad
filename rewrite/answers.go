package rewrite

import (
	"iter"
	"sync"
)

// answers returns the answers of the registries one by one, with lookahead. It is safe for
// concurrent use.
type answers struct {
	mu      sync.Mutex
	pull    func() (Answer, bool)
	end     func()
	ahead   []Answer // received by has, not yet returned by next
	stopped bool
}

func newAnswers(all iter.Seq[Answer]) *answers {
	a := &answers{}
	a.pull, a.end = iter.Pull(all)
	return a
}

// next waits for the next answer and returns it. It returns false after the last one.
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

// has reports whether an answer that next has not returned yet satisfies condition. It waits
// for answers until it finds one.
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
