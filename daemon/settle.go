package daemon

import (
	"os"
	"time"
)

// settle is the time that a file must stay unchanged before it is read, because an editor
// may still be writing it.
const settle = 200 * time.Millisecond

// settling delays the reading of a changed file until it has settled.
type settling struct {
	file  string
	timer *time.Timer // fires when the file may have settled
	seen  os.FileInfo // of the file at the last change; nil if there is none
}

// newSettling returns a settling whose timer fires once, for changes before it was created.
func newSettling(file string) *settling {
	s := &settling{file: file, timer: time.NewTimer(settle)}
	s.restart()
	return s
}

// restart begins the wait anew, after a change or a possible one.
func (s *settling) restart() {
	s.seen = stat(s.file)
	s.timer.Reset(settle)
}

// read calls load if the file is the same as at the last restart. It reports whether the file
// is still the same afterwards; if not, the result of load must be discarded, and the wait
// begins anew.
func (s *settling) read(load func()) bool {
	if s.same() {
		if load(); s.same() {
			return true
		}
	}
	s.restart()
	return false
}

func (s *settling) same() bool {
	now := stat(s.file)
	if now == nil || s.seen == nil {
		return now == nil && s.seen == nil
	}
	return os.SameFile(now, s.seen) && now.Size() == s.seen.Size() && now.ModTime().Equal(s.seen.ModTime())
}

func stat(file string) os.FileInfo {
	info, err := os.Stat(file)
	if err != nil {
		return nil
	}
	return info
}
