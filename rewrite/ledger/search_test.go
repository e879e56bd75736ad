package ledger

import (
	"fmt"
	"testing"
)

func TestSearchOfTheLedger(t *testing.T) {
	l := openLedger(t, t.TempDir())
	for i := range 10 {
		name := nameOf(i)
		name.Registry = "http://" + hub
		if err := l.Apply(Change{SetNames: []Entry{name}}); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string][]int{
		"":                               {9, 8, 7, 6, 5, 4, 3, 2, 1, 0},
		"docker.io/LIBRARY/app:7":        {7},
		hub + "/library/app:3":           {3},
		fmt.Sprintf("sha256:%064d", 2):   {5, 4},
		"app:1\nhttp":                    nil,
		"quay.io":                        nil,
		"docker.io/library/app:7 or any": nil,
	} {
		found, all := l.Search(text)
		if all != 10 || len(found) != len(want) {
			t.Errorf("%q: found %d of %d names, want %d of 10", text, len(found), all, len(want))
			continue
		}
		for i, name := range found {
			if name.Original != nameOf(want[i]).Original || name.Registry != "http://"+hub || name.At.IsZero() {
				t.Errorf("%q: the name at %d is %+v, want that of %d", text, i, name, want[i])
			}
		}
	}
}

func BenchmarkSearchOfTheLedger(b *testing.B) {
	l := newLedger(nil)
	for i := range nameLimit {
		l.setName(nameOf(i))
	}
	for b.Loop() {
		l.Search("app:19999")
	}
}

// BenchmarkSearchHoldsUp measures how long a search blocks changes of the ledger.
func BenchmarkSearchHoldsUp(b *testing.B) {
	l := newLedger(nil)
	for i := range nameLimit {
		l.setName(nameOf(i))
	}
	for b.Loop() {
		l.entries()
	}
}
