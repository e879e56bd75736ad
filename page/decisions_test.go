package page

import (
	"encoding/json"
	"fmt"
	"net/url"
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
	p.ObserveDecision(Decision{long, long, long, long, long, long, long, 1, long, long})
	kept := reflect.ValueOf(p.decisions.newestFirst()[0].Decision)
	for i := range kept.NumField() {
		text := kept.Field(i).String()
		if kept.Field(i).Kind() == reflect.String && (text != strings.Repeat("x", maxTextBytes-1)+"…" || !utf8.ValidString(text)) {
			t.Errorf("%s keeps %d bytes", kept.Type().Field(i).Name, len(text))
		}
	}
}

func TestSearch(t *testing.T) {
	sources := healthySources()
	sources.Ledger = func(text string, limit int) Names {
		return Names{Names: []Name{{Original: text, Stored: fmt.Sprint(limit)}}, Found: 1, All: 7}
	}
	_, server := serve(t, sources)
	asked := `<img src=x> & "quotes"`
	response, body := ask(t, server, "/ledger?q="+url.QueryEscape(asked), unchanged)
	var names Names
	if err := json.Unmarshal([]byte(body), &names); err != nil {
		t.Fatal(err)
	}
	if len(names.Names) != 1 || names.Names[0].Original != asked || names.Names[0].Stored != fmt.Sprint(maxNames) || names.All != 7 {
		t.Errorf("got %+v", names)
	}
	if response.Header.Get("Content-Type") != "application/json" || strings.Contains(body, "<") {
		t.Errorf("untrusted text could be parsed as markup: %s, %s", response.Header.Get("Content-Type"), body)
	}
}
