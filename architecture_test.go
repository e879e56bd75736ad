package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// mayImport says which of the project's packages, and which of the modules that
// a package is named for, each folder may import. The parts do not know each other:
// cli, daemon and lookup put them together.
var mayImport = map[string]struct{ ours, theirs []string }{
	"admin":   {ours: []string{"printable"}, theirs: []string{"golang.org/x/sys/unix"}},
	"clients": {theirs: []string{"github.com/rogpeppe/go-internal/diff", "go.yaml.in/yaml/v3"}},
	"config":  {ours: []string{"hosts"}, theirs: []string{"github.com/distribution/reference", "github.com/xrash/smetrics", "go.yaml.in/yaml/v3"}},
	"doctor": {
		ours:   []string{"admin", "config", "explain", "printable", "registry", "rewrite"},
		theirs: []string{"github.com/pelletier/go-toml/v2", "go.yaml.in/yaml/v3", "golang.org/x/sys/unix", "google.golang.org/grpc", "k8s.io/cri-api"},
	},
	"explain": {
		ours:   []string{"proxy/intercept", "registry", "rewrite"},
		theirs: []string{"github.com/distribution/reference"},
	},
	"hosts":     {},
	"metrics":   {theirs: []string{"github.com/prometheus/client_golang"}},
	"page":      {},
	"printable": {},
	"proxy": {
		ours:   []string{"proxy/frames", "proxy/intercept"},
		theirs: []string{"github.com/mwitkow/grpc-proxy", "golang.org/x/net/http2", "golang.org/x/sys/unix", "google.golang.org/genproto/googleapis/rpc/status", "google.golang.org/grpc", "google.golang.org/protobuf/proto"},
	},
	"proxy/intercept":    {theirs: []string{"google.golang.org/grpc/status"}},
	"proxy/frames":       {theirs: []string{"golang.org/x/net/http2"}},
	"registry":           {ours: []string{"hosts", "printable"}, theirs: []string{"github.com/distribution/reference", "github.com/google/go-containerregistry", "github.com/jellydator/ttlcache/v3", "github.com/opencontainers/go-digest", "go.yaml.in/yaml/v3", "golang.org/x/sync"}},
	"rewrite":            {ours: []string{"printable", "proxy/intercept", "rewrite/containerd"}, theirs: []string{"github.com/distribution/reference", "google.golang.org/grpc", "google.golang.org/protobuf", "k8s.io/cri-api"}},
	"rewrite/containerd": {ours: []string{"proxy/intercept"}, theirs: []string{"github.com/containerd/containerd/api", "google.golang.org/grpc", "google.golang.org/protobuf"}},
	"trace":              {ours: []string{"proxy/intercept"}, theirs: []string{"google.golang.org/grpc/codes", "google.golang.org/grpc/status", "google.golang.org/protobuf", "k8s.io/cri-api"}},
	"version":            {},
	"cli": {
		ours:   []string{"admin", "clients", "config", "daemon", "doctor", "explain", "lookup", "proxy", "registry", "rewrite", "trace", "version"},
		theirs: []string{"github.com/urfave/cli/v2"},
	},
	"daemon": {
		ours:   []string{"admin", "config", "doctor", "explain", "lookup", "metrics", "page", "printable", "proxy", "registry", "rewrite", "trace", "version"},
		theirs: []string{"github.com/coreos/go-systemd/v22", "github.com/fsnotify/fsnotify", "github.com/sirupsen/logrus", "golang.org/x/net/netutil", "golang.org/x/sync/singleflight", "google.golang.org/grpc/codes", "google.golang.org/grpc/status"},
	},
	"lookup": {ours: []string{"config", "registry", "rewrite"}, theirs: []string{"github.com/distribution/reference"}},
	".":      {ours: []string{"cli"}},
}

func TestImports(t *testing.T) {
	seen := make(map[string]bool)
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (file == "e2e" || file == "bench" || file == "testdata" || strings.HasPrefix(file, ".") && file != ".") {
			return fs.SkipDir // e2e and bench are modules of their own
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") || strings.HasSuffix(path.Dir(file), "test") {
			return nil
		}
		folder := path.Dir(file)
		rules, known := mayImport[folder]
		if !known {
			t.Errorf("%s: the folder %s has no rules here", file, folder)
			return nil
		}
		seen[folder] = true
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if !allowed(imported, rules.ours, rules.theirs) {
				t.Errorf("%s imports %s", file, imported)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for folder := range mayImport {
		if !seen[folder] {
			t.Errorf("there are rules for the folder %s, and no Go files", folder)
		}
	}
}

func allowed(imported string, ours, theirs []string) bool {
	if own, ok := strings.CutPrefix(imported, "image-cri-shim/"); ok {
		theirs, imported = ours, own
	} else if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return true // the standard library
	}
	for _, prefix := range theirs {
		if imported == prefix || strings.HasPrefix(imported, prefix+"/") {
			return true
		}
	}
	return false
}
