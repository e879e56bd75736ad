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
	for _, made := range []int{0, 1, decisionLimit - 1, decisionLimit, decisionLimit + 1, 5*decisionLimit + 7} {
		p := New(well())
		for i := range made {
			p.Decided(Decision{Asked: fmt.Sprint(i)})
		}
		kept := p.decisions.kept()
		if len(kept) != min(made, decisionLimit) {
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
	p := New(well())
	long := strings.Repeat("x", textBytes-1) + "é and more"
	p.Decided(Decision{long, long, long, long, long, long, long, 1})
	kept := reflect.ValueOf(p.decisions.kept()[0].Decision)
	for i := range kept.NumField() {
		text := kept.Field(i).String()
		if kept.Field(i).Kind() == reflect.String && (text != strings.Repeat("x", textBytes-1)+"…" || !utf8.ValidString(text)) {
			t.Errorf("%s keeps %d bytes", kept.Type().Field(i).Name, len(text))
		}
	}
}

func TestSearch(t *testing.T) {
	sources := well()
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
	if len(names.Names) != 1 || names.Names[0].Original != asked || names.Names[0].Stored != fmt.Sprint(namesShown) || names.All != 7 {
		t.Errorf("got %+v", names)
	}
	if response.Header.Get("Content-Type") != "application/json" || strings.Contains(body, "<") {
		t.Errorf("others' text could be taken for markup: %s, %s", response.Header.Get("Content-Type"), body)
	}
}
