package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport has a line for each folder with the packages that it may import: packages of the
// project by folder, others by package or module. The parts do not import each other; cli,
// daemon and lookup connect them.
const mayImport = `
main: cli
admin: printable, unixsocket
callstats:
cli: admin, clients, config, daemon, doctor, explain, kubelet, lookup, proxy, registry, rewrite, rewrite/ledger, rewrite/naming, trace, unixsocket, version, github.com/urfave/cli/v2, github.com/xrash/smetrics, go.yaml.in/yaml/v3, golang.org/x/sys/unix
clients: github.com/rogpeppe/go-internal/diff, go.yaml.in/yaml/v3
config: hosts, github.com/distribution/reference, go.yaml.in/yaml/v3
daemon: admin, config, explain, lookup, metrics, page, printable, proxy, proxy/intercept, registry, rewrite, rewrite/ledger, rewrite/naming, trace, trace/redact, unixsocket, version, github.com/coreos/go-systemd/v22, github.com/fsnotify/fsnotify, github.com/sirupsen/logrus, golang.org/x/net/netutil, golang.org/x/sync/singleflight, google.golang.org/grpc/codes, google.golang.org/grpc/status
doctor: admin, clients, config, explain, printable, registry, rewrite/ledger, rewrite/naming, rewrite/statedir, unixsocket, github.com/pelletier/go-toml/v2, go.yaml.in/yaml/v3, golang.org/x/sys/unix, google.golang.org/grpc, k8s.io/cri-api
explain: proxy/intercept, registry, rewrite, rewrite/imagename, rewrite/naming, github.com/distribution/reference, google.golang.org/grpc/codes, google.golang.org/grpc/status
hosts:
kubelet: admin, explain
lookup: config, registry, rewrite, github.com/distribution/reference
metrics: github.com/prometheus/client_golang
packaging:
page: callstats
printable:
proxy: proxy/frames, proxy/intercept, unixsocket, github.com/mwitkow/grpc-proxy, golang.org/x/net/http2, google.golang.org/genproto/googleapis/rpc/status, google.golang.org/grpc, google.golang.org/protobuf/proto
proxy/frames: golang.org/x/net/http2
proxy/intercept: google.golang.org/grpc/status
registry: hosts, printable, registry/keychain, github.com/distribution/reference, github.com/google/go-containerregistry, github.com/jellydator/ttlcache/v3
registry/keychain: hosts, printable, github.com/distribution/reference, github.com/google/go-containerregistry, go.yaml.in/yaml/v3
rewrite: printable, proxy/intercept, rewrite/cri, rewrite/imagename, rewrite/ledger, rewrite/naming, github.com/distribution/reference, google.golang.org/grpc, google.golang.org/protobuf, k8s.io/cri-api
rewrite/containerd: proxy/intercept, github.com/containerd/containerd/api, google.golang.org/grpc, google.golang.org/protobuf
rewrite/cri: proxy/intercept, google.golang.org/grpc, google.golang.org/protobuf, k8s.io/cri-api
rewrite/imagename: github.com/distribution/reference, k8s.io/cri-api
rewrite/ledger: rewrite/imagename, rewrite/statedir, k8s.io/cri-api
rewrite/naming: printable, proxy/intercept, rewrite/containerd, rewrite/cri, rewrite/imagename, rewrite/ledger, rewrite/statedir, github.com/distribution/reference, google.golang.org/grpc, k8s.io/cri-api
rewrite/statedir:
trace: callstats, proxy/intercept, trace/redact, unixsocket, google.golang.org/grpc/codes, google.golang.org/grpc/status, google.golang.org/protobuf, k8s.io/cri-api
trace/redact: google.golang.org/protobuf
unixsocket: golang.org/x/sys/unix
version:
`

// maxFloors is the maximum length of a chain of imports between the project's folders.
const maxFloors = 8

// importRules returns the permitted imports by folder.
func importRules(t *testing.T) map[string][]string {
	t.Helper()
	rules := make(map[string][]string)
	for line := range strings.Lines(strings.TrimSpace(mayImport)) {
		folder, imports, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			t.Fatalf("no folder in the rule %q", line)
		}
		if folder == "main" {
			folder = "."
		}
		rules[folder] = strings.FieldsFunc(imports, func(r rune) bool { return r == ',' || r == ' ' })
	}
	return rules
}

// TestImports requires that each folder imports exactly the packages in mayImport, and that
// imports have no cycle and at most maxFloors levels.
func TestImports(t *testing.T) {
	rules, imports := importRules(t), make(map[string][]string)
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && file != "." && (file == "testdata" || strings.HasPrefix(file, ".") || isModule(file)) {
			return fs.SkipDir
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") || strings.HasSuffix(path.Dir(file), "test") {
			return nil
		}
		folder := path.Dir(file)
		if _, known := rules[folder]; !known {
			t.Errorf("%s: the folder %s has no rule in mayImport", file, folder)
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		imports[folder] = append(imports[folder], "") // the folder has a file
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imported = strings.TrimPrefix(imported, "image-cri-shim/")
			imports[folder] = append(imports[folder], imported)
			if _, own := rules[imported]; (own || strings.Contains(imported, ".")) && !slices.ContainsFunc(rules[folder], func(rule string) bool { return allows(rule, imported, own) }) {
				t.Errorf("%s imports %s, which mayImport does not permit", file, imported)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for folder, allowed := range rules {
		if imports[folder] == nil {
			t.Errorf("mayImport has a rule for the folder %s, which has no Go files", folder)
		}
		for _, rule := range allowed {
			_, own := rules[rule]
			if !slices.ContainsFunc(imports[folder], func(imported string) bool { return allows(rule, imported, own) }) {
				t.Errorf("mayImport permits %s to import %s, which it does not import", folder, rule)
			}
		}
	}
	for folder := range rules {
		if height := floor(t, imports, folder, nil); height > maxFloors {
			t.Errorf("%s is on level %d, want at most %d", folder, height, maxFloors)
		}
	}
}

// allows reports whether a rule permits an import. A rule for a folder of the project does
// not apply to its subfolders.
func allows(rule, imported string, own bool) bool {
	return imported == rule || !own && strings.HasPrefix(imported, rule+"/")
}

// floor returns the number of folders in the longest chain of imports from folder. above are
// the folders in the chain before it.
func floor(t *testing.T, imports map[string][]string, folder string, above []string) int {
	t.Helper()
	if slices.Contains(above, folder) {
		t.Fatalf("the imports have a cycle: %v, %s", above, folder)
	}
	height := 0
	for _, imported := range slices.Compact(slices.Sorted(slices.Values(imports[folder]))) {
		if _, own := imports[imported]; own {
			height = max(height, floor(t, imports, imported, append(above, folder)))
		}
	}
	return height + 1
}

// TestDesignListsImports requires that docs/design.md has the line of each folder that imports
// others of the project.
func TestDesignListsImports(t *testing.T) {
	design, err := os.ReadFile("docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	rules := importRules(t)
	for folder, allowed := range rules {
		own := slices.DeleteFunc(slices.Clone(allowed), func(rule string) bool { return rules[rule] == nil })
		line := strings.Replace(folder, ".", "main", 1) + ": " + strings.Join(own, ", ") + "\n"
		if listed := strings.Contains("\n"+string(design), "\n"+line); listed != (len(own) > 0) {
			t.Errorf("docs/design.md has the line %q: %t", line, listed)
		}
	}
}

// isModule reports whether a folder is a Go module of its own.
func isModule(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "go.mod"))
	return err == nil
}
