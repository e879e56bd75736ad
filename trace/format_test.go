package trace

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestFormatIsDocumented requires that the tables in docs/trace.md have exactly the fields that
// are written, with their types, and that quantities have a unit.
func TestFormatIsDocumented(t *testing.T) {
	document, err := os.ReadFile("../docs/trace.md")
	if err != nil {
		t.Fatal(err)
	}
	var event Event
	var header Header
	var summary Summary
	fill(reflect.ValueOf(&event).Elem())
	fill(reflect.ValueOf(&header).Elem())
	summary.Add(Event{Kind: KindCall, Method: "m", Seconds: 1.5})
	var firstLine, table bytes.Buffer
	if err := errors.Join(WriteHeader(&firstLine, header), summary.Write(&table, false)); err != nil {
		t.Fatal(err)
	}
	for heading, written := range map[string][]byte{
		"Events":                        encode(event),
		"The first line of a recording": firstLine.Bytes(),
		"The summary":                   bytes.Trim(table.Bytes(), " []\n"),
	} {
		_, section, _ := strings.Cut(string(document), "\n### "+heading+"\n")
		section, _, _ = strings.Cut(section, "\n#")
		documented := make(map[string]string)
		for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (\\w+) \\| (\\w*) ?\\| .+ \\|$").FindAllStringSubmatch(section, -1) {
			documented[row[1]] = row[2]
			if isQuantity := regexp.MustCompile(`(?i)seconds|bytes|calls|errors|messages|lost`).MatchString(row[1]); isQuantity != (row[3] != "") {
				t.Errorf("%s: %s has the unit %q", heading, row[1], row[3])
			}
		}
		emitted := make(map[string]string)
		decoder := json.NewDecoder(bytes.NewReader(written))
		decoder.UseNumber()
		var object map[string]any
		if err := decoder.Decode(&object); err != nil {
			t.Fatal(err)
		}
		collectFields(emitted, "", object)
		if !maps.Equal(documented, emitted) {
			t.Errorf("%s: documented\n%v\nwritten\n%v", heading, documented, emitted)
		}
	}
}

// fill sets each field of a value to something that is not empty.
func fill(v reflect.Value) {
	switch value := v.Addr().Interface().(type) {
	case *time.Time:
		*value = time.Now()
		return
	case *json.RawMessage:
		*value = json.RawMessage("{}")
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.String:
		v.SetString("text")
	case reflect.Float64:
		v.SetFloat(1.5)
	default:
		v.Set(reflect.ValueOf(1).Convert(v.Type()))
	}
}

// collectFields adds the fields of an object to types, by path.
func collectFields(types map[string]string, path string, value any) {
	switch value := value.(type) {
	case map[string]any:
		if len(value) == 0 {
			types[path] = "object"
		}
		for key, field := range value {
			collectFields(types, strings.TrimPrefix(path+"."+key, "."), field)
		}
	case []any:
		for _, element := range value {
			collectFields(types, path+"[]", element)
		}
	case json.Number:
		types[path] = "number"
		if _, err := value.Int64(); err == nil {
			types[path] = "integer"
		}
	case string:
		types[path] = "string"
		if _, err := time.Parse(time.RFC3339Nano, value); err == nil {
			types[path] = "time"
		}
	}
}
