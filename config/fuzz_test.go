package config

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/distribution/reference"
)

// FuzzParse puts a password into arbitrary files. Parse must not panic, must not repeat the
// password, and must return only values that Config documents.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(testdata, "*.yaml"))
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds: ", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, []byte(nil))
		f.Add([]byte(nil), data)
	}
	for _, seed := range []string{
		"registries:\n- address: a.b\n  ", "registries: [{", "{", "timeout: \"", "? \"", "auth: &x\n  ", "image: |\n  x\n  ",
		"cache: &c {imageCacheSize: 1}\nregistries: [*c, &d {address: a.b, match: &e ['*', *c]}, *d]\n",
	} {
		f.Add([]byte(seed), []byte("\"}]\n"))
	}
	const canary = "c4n4ry"
	f.Fuzz(func(t *testing.T, before, after []byte) {
		data := slices.Concat(before, []byte("\nauth: admin:"+canary+"\n"), after)
		if bytes.Contains(before, []byte(canary)) || bytes.Contains(after, []byte(canary)) {
			t.Skip("the fuzzer found the canary")
		}
		config, err := Parse("f", data)
		if err != nil {
			requireSecret(t, canary, ProblemsOf("f", err))
			return
		}
		requireSecret(t, canary, config.Warnings)
		requireValid(t, config)
		if slices.ContainsFunc(config.Registries, func(r Registry) bool { return r.Password == canary }) {
			var text bytes.Buffer
			config.Describe(&text)
			if strings.Contains(text.String(), canary) {
				t.Fatalf("the password is in the description: %s", text.String())
			}
		}
	})
}

// FuzzPassword puts a password between arbitrary text, without quotes, in each form of a login.
// No message may repeat it.
func FuzzPassword(f *testing.F) {
	for _, seed := range [][2]string{
		{"p#", ": word"}, {"p #", ""}, {"p: ", ""}, {"", ": x"}, {"@", ""}, {"%", ""}, {"&", ""}, {"&a ", ""}, {"*", ""}, {"!", ""}, {"{", ""}, {"{a: ", "}"},
		{"[", "]"}, {"\"", ""}, {"\"", "\" x"}, {"'", "' x"}, {"\"\\q", "\""}, {"- ", ""}, {"? ", ""}, {"|", ""}, {"p, ", ": x"}, {"p,", ""}, {"：", ""}, {"“", "”"},
	} {
		f.Add(seed[0], seed[1])
	}
	const canary = "c4n4ry"
	f.Fuzz(func(t *testing.T, before, after string) {
		if lineBreak.MatchString(before+after) || strings.Contains(before+after, canary) {
			t.Skip("the fuzzer found another line, or the canary")
		}
		password := before + canary + after
		for _, data := range []string{
			"address: hub.local\nauth: " + password + "\ndebug: true\n",
			"address: hub.local\nauth: admin:" + password + "\ndebug: true\n",
			"address: hub.local\nauth:\n  username: admin\n  password: " + password + "\ndebug: true\n",
			"debug: true\nauth:" + password + "\nforce: true\n",
			"debug: true\nauth：" + password + "\nforce: true\n",
			"registries: [{address: hub.local, auth: admin:" + password + "}]\n",
			"registries:\n- address: hub.local\n  auth: {username: admin, password: " + password + "}\n",
		} {
			if config, err := Parse("f", []byte(data)); err != nil {
				requireSecret(t, canary, ProblemsOf("f", err))
			} else {
				requireSecret(t, canary, config.Warnings)
			}
		}
	})
}

// FuzzMergeSealos merges arbitrary texts of sealos' ConfigMap into arbitrary files. MergeSealos
// must not panic, the result must have the registries of the ConfigMap and stay the same when
// they are merged again, and no message may repeat a password.
func FuzzMergeSealos(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(testdata, "*.yaml"))
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds: ", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, []byte("sealos: {address: hub.local, auth: {username: a, password: b}}\n# end\n"))
		f.Add([]byte("# a\nsealos: {address: hub.local, auth: a:b}\ncache: {absentTTL: 1s}\n"), data)
	}
	f.Add([]byte("registries: [&a {address: a.b}, *a]\n"), []byte("registries:\n# x\n- &b {address: a.b, auth: a:b} # y\n- *b\n"))
	f.Add([]byte("debug: true\n"), []byte("kind: ConfigMap\ndata:\n  registries.yaml: |\n    debug: true\n"))
	f.Fuzz(func(t *testing.T, file, registries []byte) {
		const canary = "c4n4ry"
		if bytes.Contains(file, []byte(canary)) || bytes.Contains(registries, []byte(canary)) {
			t.Skip("the fuzzer found the canary")
		}
		source := Source{"registries.yaml", registries}
		if text, err := SealosRegistries(source); err == nil {
			source = text
		}
		requireMerge(t, Source{"f", file}, source)

		login := []byte("\nauth: 'a:" + canary + "'\n")
		sealos := []byte("\nsealos: {address: hub.local, auth: 'a:" + canary + "'}\n")
		for _, changed := range []Source{{"f", append(slices.Clip(file), login...)}, {"f", file}} {
			_, warnings, err := MergeSealos(changed, Source{"registries.yaml", append(slices.Clip(registries), sealos...)})
			requireSecret(t, canary, warnings)
			if err != nil {
				requireSecret(t, canary, ProblemsOf("", err))
			}
		}
		manifest := append([]byte("kind: ConfigMap\ndata:\n  registries.yaml: "+canary+"\n"), registries...)
		if _, err := SealosRegistries(Source{"m", manifest}); err != nil {
			requireSecret(t, canary, ProblemsOf("", err))
		}
	})
}

// requireMerge requires a valid result, or an error.
func requireMerge(t *testing.T, file, registries Source) {
	t.Helper()
	merged, _, err := MergeSealos(file, registries)
	if err != nil {
		return
	}
	result, err := Parse("f", merged)
	if err != nil {
		t.Fatalf("the result is invalid: %v\n%s", err, merged)
	}
	if wanted, err := Parse("", registries.Data); err == nil && len(wanted.places) > 0 {
		requireRegistries(t, wanted, result, merged)
	}
	again, _, err := MergeSealos(Source{"f", merged}, registries)
	if err != nil || !bytes.Equal(again, merged) {
		t.Fatalf("merged again (%v):\n%q\nbefore:\n%q", err, again, merged)
	}
}

// requireRegistries requires the registries of the ConfigMap in the merged file.
func requireRegistries(t *testing.T, wanted, result *Config, merged []byte) {
	t.Helper()
	others := func(c *Config) (all []Registry) {
		for _, r := range c.Registries {
			if r.AuthFile = ""; !r.Main {
				all = append(all, r)
			}
		}
		return all
	}
	if !reflect.DeepEqual(others(wanted), others(result)) {
		t.Fatalf("got %d registries, want %d:\n%s", len(others(result)), len(others(wanted)), merged)
	}
}

func requireSecret(t *testing.T, canary string, messages []Message) {
	t.Helper()
	for _, message := range messages {
		if strings.Contains(strings.ToLower(message.String()), canary) {
			t.Fatalf("the password is in %q", message)
		}
	}
}

func requireValid(t *testing.T, config *Config) {
	t.Helper()
	if !filepath.IsAbs(config.Shim) || len(config.Shim) > socketPathLimit || config.Shim == config.Runtime || !filepath.IsAbs(config.StateDirectory) {
		t.Errorf("paths: %q %q %q", config.Shim, config.Runtime, config.StateDirectory)
	}
	if min(config.Timeout, config.LookupTimeout, config.Drain, config.ReloadInterval, config.Cache.ImageCacheTTL, config.Cache.AbsentTTL) <= 0 || config.Cache.ImageCacheSize <= 0 {
		t.Errorf("a limit is not positive: %+v", config)
	}
	for i, registry := range config.Registries {
		scheme, place, _ := strings.Cut(registry.Address, "://")
		if scheme != "http" && scheme != "https" || place == "" || strings.ContainsAny(place, "@?# ") || strings.HasSuffix(place, "/") {
			t.Errorf("address %q", registry.Address)
		}
		host, prefix, _ := strings.Cut(place, "/")
		path := strings.NewReplacer("{domain}", "domain", "{path}", "path", "{name}", "name").Replace(registry.Path)
		for _, repository := range []string{strings.TrimPrefix(prefix+"/image", "/"), path} {
			if _, err := reference.WithName(host + "/" + repository); err != nil {
				t.Errorf("address %q and path %q begin no image name: %v", registry.Address, registry.Path, err)
			}
		}
		if registry.Priority < 0 || registry.Priority > highestPriority || registry.Path == "" || registry.Main && i > 0 {
			t.Errorf("registry %d: priority %d, path %q, main %v", i, registry.Priority, registry.Path, registry.Main)
		}
	}
}
