package page

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTheLastDecisionsAreKept(t *testing.T) {
	for _, made := range []int{0, 1, maxDecisions - 1, maxDecisions, maxDecisions + 1, 5*maxDecisions + 7} {
		p := New(healthySources())
		for i := range made {
			p.ObserveDecision(Decision{Asked: fmt.Sprint(i)})
		}
		kept := p.decisions.newestFirst()
		if len(kept) != min(made, maxDecisions) {
			t.Fatalf("of %d decisions %d are kept", made, len(kept))
		}
		for i, decision := range kept {
			if want := fmt.Sprint(made - 1 - i); decision.Asked != want || decision.Number != uint64(made-i) {
				t.Fatalf("of %d decisions number %d from the end is %q, want %q", made, i, decision.Asked, want)
			}
		}
	}
}

func TestLongTextsAreCut(t *testing.T) {
	p := New(healthySources())
	long := strings.Repeat("x", maxTextBytes-1) + "é and more"
	p.ObserveDecision(Decision{long, long, long, long, long, long, long, 1, long, long, long, false})
	kept := reflect.ValueOf(p.decisions.newestFirst()[0].Decision)
	for i := range kept.NumField() {
		text := kept.Field(i).String()
		if kept.Field(i).Kind() == reflect.String && (text != strings.Repeat("x", maxTextBytes-1)+"…" || !utf8.ValidString(text)) {
			t.Errorf("%s keeps %d bytes", kept.Type().Field(i).Name, len(text))
		}
	}
}
