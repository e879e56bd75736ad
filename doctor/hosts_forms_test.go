package doctor

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/config"
	"image-cri-shim/registry"
)

// hostsFixture has the servers that are named in testdata/hosts.txtar.
type hostsFixture struct {
	folder string
	names  map[string]string // what $NAME stands for
}

func newHostsFixture(t *testing.T) *hostsFixture {
	t.Helper()
	b := &hostsFixture{folder: t.TempDir(), names: map[string]string{}}
	healthy := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusNotFound)
		}
	})
	authority := certificate(t, b.file("ca.pem"))
	certificate(t, b.file("other.pem"))
	b.serve(t, "HTTP", healthy, nil)
	b.serve(t, "TLS", healthy, authority)
	b.serve(t, "MIRROR", healthy, nil)
	b.serve(t, "BROKEN", rejectWith(http.StatusInternalServerError, ""), nil)
	b.serve(t, "LOGIN", rejectWith(http.StatusUnauthorized, `Basic realm="x"`), nil)
	closed := httptest.NewServer(healthy)
	closed.Close()
	b.names["DEAD"] = closed.Listener.Addr().String()
	b.names["LOCAL"] = strings.Replace(b.names["HTTP"], "0.0.0.0", "127.0.0.1", 1)
	b.names["LOCALTLS"] = strings.Replace(b.names["TLS"], "0.0.0.0", "127.0.0.1", 1)
	b.names["CA"], b.names["OTHER"] = b.file("ca.pem"), b.file("other.pem")
	return b
}

func (b *hostsFixture) file(name string) string { return filepath.Join(b.folder, name) }

func (b *hostsFixture) serve(t *testing.T, name string, handler http.Handler, certificate *tls.Certificate) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if certificate == nil {
		server.Start()
	} else {
		server.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate}}
		server.StartTLS()
	}
	t.Cleanup(server.Close)
	b.names[name] = strings.Replace(server.Listener.Addr().String(), "127.0.0.1", "0.0.0.0", 1)
}

func rejectWith(code int, challenge string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if challenge != "" {
			w.Header().Set("WWW-Authenticate", challenge)
		}
		w.WriteHeader(code)
	}
}

func (b *hostsFixture) expand(text string) string {
	return os.Expand(text, func(name string) string { return b.names[name] })
}

// write creates the folder of a form and returns the root of the folders.
func (b *hostsFixture) write(t *testing.T, host, header, content string) (root string) {
	t.Helper()
	root = t.TempDir()
	folder := filepath.Join(root, host)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	content = b.expand(content)
	for line := range strings.Lines(header) {
		option, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "# "), ":")
		switch option {
		case "beside":
			name, source, _ := strings.Cut(value, " =")
			var beside []byte
			if source != "" {
				var err error
				if beside, err = os.ReadFile(b.expand(strings.TrimSpace(source))); err != nil {
					t.Fatal(err)
				}
			}
			put(strings.TrimSpace(name), string(beside))
		case "BOM":
			content = "\ufeff" + content
		case "CRLF":
			content = strings.ReplaceAll(content, "\n", "\r\n")
		}
	}
	if !strings.Contains(header, "# no file\n") {
		put("hosts.toml", content)
	}
	return root
}

var (
	formHeader  = regexp.MustCompile(`^(# (registry|no file|beside|BOM|CRLF|folders|containerd).*\n)+`)
	formVerdict = regexp.MustCompile(`(?m)^# containerd (\S+): (.+)\n`)
)

// TestHostsForms compares the doctor's finding for each form of hosts.toml with the recorded
// behaviour of containerd. The finding must be FAIL if and only if the pull fails, and WARN
// if a host other than the registry's serves the tag.
func TestHostsForms(t *testing.T) {
	table, err := txtar.ParseFile("../testdata/hosts.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(table.Files) < 40 {
		t.Errorf("%d forms", len(table.Files))
	}
	b := newHostsFixture(t)
	for _, form := range table.Files {
		header := formHeader.FindString(string(form.Data))
		content := string(form.Data)[len(header):]
		name, _, _ := strings.Cut(strings.TrimPrefix(header, "# registry: "), "\n")
		host := b.expand(name)
		root := b.write(t, host, header, content)
		if strings.Contains(header, "# folders: 2\n") {
			root += ":" + t.TempDir()
		}
		verdicts := formVerdict.FindAllStringSubmatch(header, -1)
		if len(verdicts) < 2 {
			t.Errorf("%s: verdicts of %d versions", form.Name, len(verdicts))
		}
		for _, verdict := range verdicts {
			version, want := verdict[1], verdict[2]
			t.Run(form.Name+"/"+version, func(t *testing.T) {
				got := b.trustFinding(t, name, host, root, version)
				server, _, _ := strings.Cut(want, ", ")
				// Each server of the table has two addresses.
				sameServer := map[string]string{"$LOCAL": "$HTTP", "$LOCALTLS": "$TLS"}
				own := server == name || server == sameServer[name]
				switch {
				case (want == "fails") != (got.Level == Fail):
					t.Errorf("%+v, but the pull: %s", got, want)
				case want != "fails" && !own && !strings.Contains(got.Text, "pulls from "+b.expand(server)+", not"):
					t.Errorf("%+v, but the pull: %s", got, want)
				case want != "fails" && own && strings.Contains(got.Text, "not from the registry's own host"):
					t.Errorf("%+v, but the pull: %s", got, want)
				}
			})
		}
	}
}

// trustFinding returns the finding on a registry for a version of containerd.
func (b *hostsFixture) trustFinding(t *testing.T, name, host, root, version string) Finding {
	t.Helper()
	n := &node{
		Options: Options{Settings: &config.Config{LookupTimeout: 10 * time.Second}},
		runtime: criServer{version: &cri.VersionResponse{RuntimeName: "containerd", RuntimeVersion: version}},
	}
	n.runtimeSettings.Registry.ConfigPath = root
	address := "http://" + host
	configured := config.Registry{}
	if strings.HasSuffix(name, "TLS") {
		address = "https://" + host
		configured.CA = b.names["CA"]
	}
	findings := n.trustFindings(context.Background(), registry.Probe{Registry: address, Host: host}, configured)
	if len(findings) != 1 {
		t.Fatalf("%+v, want one finding", findings)
	}
	if findings[0].Level != OK && findings[0].Hint == "" {
		t.Errorf("no hint: %+v", findings[0])
	}
	return findings[0]
}
