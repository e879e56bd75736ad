package trace

import (
	"reflect"
	"testing"
	"time"
)

func TestQueryValues(t *testing.T) {
	for _, want := range []Query{
		{},
		{Filter: Filter{Methods: []string{"a"}, Errors: true}, Bodies: true},
		{Filter: Filter{NotMethods: []string{"a"}}, Since: 1500 * time.Millisecond},
		{Since: time.Hour, NoFollow: true},
	} {
		if got, err := ParseQuery(want.Values()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	for _, bad := range []map[string][]string{{"since": {"30"}}, {"since": {"-1s"}}, {"follow": {"false"}}, {"since": {"0s"}, "follow": {"false"}}, {"method": {"["}}} {
		if _, err := ParseQuery(bad); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}
