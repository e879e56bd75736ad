package daemon

import (
	"os"
	"path/filepath"
	"testing"
)

// TestHalfWrittenFilesAreDiscarded requires that a file which a writer truncates and writes in
// pieces is only used when it has stayed the same, before and during the read.
func TestHalfWrittenFilesAreDiscarded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "shim.yaml")
	write := func(flag int, text string) {
		t.Helper()
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|flag, 0o600)
		if err == nil {
			_, err = f.WriteString(text)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write(0, "address: hub.local\ndebug: true\n")
	s := newSettling(file)
	defer s.timer.Stop()

	loads := 0
	want := func(when string, complete bool, wantLoads int, during func()) {
		t.Helper()
		loads = 0
		<-s.timer.C // each discarded read has started the timer again
		got := s.read(func() {
			loads++
			during()
		})
		if got != complete || loads != wantLoads {
			t.Errorf("%s: the file counts as complete: %t, after %d reads; want %t, %d", when, got, loads, complete, wantLoads)
		}
	}
	nothing := func() {}
	write(os.O_TRUNC, "")
	want("truncated before the read", false, 0, nothing)
	want("first piece during the read", false, 1, func() { write(os.O_APPEND, "address: other.local\n") })
	write(os.O_APPEND, "debug: false\n")
	want("second piece before the read", false, 0, nothing)
	want("replaced during the read", false, 1, func() {
		if err := os.Rename(file, file+".old"); err != nil {
			t.Fatal(err)
		}
	})
	want("missing", true, 1, nothing)
	s.restart() // an event
	write(0, "address: other.local\n")
	want("created before the read", false, 0, nothing)
	want("unchanged", true, 1, nothing)
}
