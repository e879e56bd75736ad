package service

import (
	"strings"
	"testing"
)

func TestFilesValidate(t *testing.T) {
	for key, want := range map[string]string{
		"ca.pem":                 "",
		".dockerconfig":          "",
		"..data":                 `key "..data"`,
		"..":                     `key ".."`,
		".":                      `key "."`,
		"../shadow":              `key "../shadow"`,
		"a/b":                    `key "a/b"`,
		"":                       `key ""`,
		"new\nline":              `key "new\nline"`,
		"a" + "\x00":             `key "a\x00"`,
		strings.Repeat("x", 300): `can't be a file name`,
		strings.Repeat("x", 171): "use up to 170 letters",
	} {
		err := Files{ConfigKey: nil, key: nil}.Validate()
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("key %q: error %v, want %q", key, err, want)
		}
	}
	if err := (Files{"ca.pem": nil}).Validate(); err == nil || !strings.Contains(err.Error(), ConfigKey+" is missing") {
		t.Errorf("without a configuration: %v", err)
	}
}

// The names of records and temporary files for the longest key are not too long.
func TestLongestKey(t *testing.T) {
	n := newNode(t, nil)
	s := n.service(t, "v1.0.0")
	for length := 170; length <= 253; length++ {
		files := Files{ConfigKey: configuration(""), strings.Repeat("k", length): []byte("ours")}
		if files.Validate() != nil {
			continue
		}
		if _, err := install(t.Context(), s, files); err != nil {
			t.Fatalf("a key of %d letters: %v", length, err)
		}
	}
}

func TestFilesHash(t *testing.T) {
	hashes := map[string]int{}
	for i, files := range []Files{
		nil,
		{"a": []byte("b")},
		{"a": []byte("c")},
		{"ab": nil},
		{"a": nil, "b": nil},
		{"a": []byte("b"), "c": nil},
		{"a": []byte("bc")},
	} {
		hash := files.Hash()
		if other, known := hashes[hash]; known {
			t.Errorf("files %d and %d have the same hash", i, other)
		}
		hashes[hash] = i
	}
	if (Files{"a": nil, "b": nil}).Hash() != (Files{"b": {}, "a": {}}).Hash() {
		t.Error("equal files have different hashes")
	}
}
