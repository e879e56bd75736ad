package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"image-cri-shim/e2e/testbed"
)

// hostsForms is the table of hosts.toml forms, which the doctor's unit test reads, too.
const hostsForms = "../testdata/hosts.txtar"

// hostsForm is one hosts.toml and the behavior of the versions of containerd with it.
type hostsForm struct {
	name, registry string
	verdicts       map[string]string // by containerd's version
	header, file   string
}

var (
	formName    = regexp.MustCompile(`(?m)^-- (.+) --\n`)
	formHeader  = regexp.MustCompile(`^(# (registry|no file|beside|BOM|CRLF|folders|containerd).*\n)+`)
	formVerdict = regexp.MustCompile(`(?m)^# containerd (\S+): (.+)\n`)
)

// readForms returns the comment at the beginning of the table and its forms.
func readForms(t *testing.T) (comment string, forms []*hostsForm) {
	t.Helper()
	content, err := os.ReadFile(hostsForms)
	if err != nil {
		t.Fatal(err)
	}
	places := formName.FindAllSubmatchIndex(content, -1)
	for i, place := range places {
		end := len(content)
		if i+1 < len(places) {
			end = places[i+1][0]
		}
		text := string(content[place[1]:end])
		f := &hostsForm{name: string(content[place[2]:place[3]]), verdicts: map[string]string{}}
		f.header = formHeader.FindString(text)
		f.file = text[len(f.header):]
		for _, verdict := range formVerdict.FindAllStringSubmatch(f.header, -1) {
			f.verdicts[verdict[1]] = verdict[2]
		}
		f.header = formVerdict.ReplaceAllString(f.header, "")
		f.registry, _, _ = strings.Cut(strings.TrimPrefix(f.header, "# registry: "), "\n")
		forms = append(forms, f)
	}
	return string(content[:places[0][0]]), forms
}

// recordForms writes the table with the verdicts of a further version.
func recordForms(t *testing.T, comment string, forms []*hostsForm, versions []string) {
	t.Helper()
	var content strings.Builder
	content.WriteString(comment)
	for _, f := range forms {
		fmt.Fprintf(&content, "-- %s --\n%s", f.name, f.header)
		for _, version := range versions {
			if verdict, ok := f.verdicts[version]; ok {
				fmt.Fprintf(&content, "# containerd %s: %s\n", version, verdict)
			}
		}
		content.WriteString(f.file)
	}
	if err := os.WriteFile(hostsForms, []byte(content.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// hostsFixture is a containerd and the servers that the forms refer to.
type hostsFixture struct {
	containerd *testbed.Containerd
	more       string // the second folder for hosts.toml
	folder     string
	names      map[string]string // values of $NAME in the forms
	registries map[string]*testbed.FaultyRegistry

	mu     sync.Mutex
	served []string // names of the servers of manifests and layers, by the tag's repository
}

// record records the requests that a server answers with 200.
func (b *hostsFixture) record(name string, fault testbed.Fault) testbed.Fault {
	return func(response http.ResponseWriter, request *http.Request, next http.Handler) {
		recorder := &statusRecorder{ResponseWriter: response, code: http.StatusOK}
		fault(recorder, request, next)
		if recorder.code != http.StatusOK || request.URL.Path == "/v2/" {
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.served = append(b.served, name)
	}
}

type statusRecorder struct {
	http.ResponseWriter
	code int
}

func (r *statusRecorder) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}

func newHostsFixture(t *testing.T) *hostsFixture {
	t.Helper()
	needContainerd(t)
	b := &hostsFixture{folder: temporaryFolder(t), names: map[string]string{}, registries: map[string]*testbed.FaultyRegistry{}}
	until := time.Now().Add(24 * time.Hour)
	// A connection to 0.0.0.0 reaches this machine, but containerd treats only 127.0.0.1,
	// ::1 and localhost as local.
	certificate, err := testbed.Certificate(filepath.Join(b.folder, "ca.pem"), "0.0.0.0", until)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := testbed.Certificate(filepath.Join(b.folder, "other.pem"), "0.0.0.0", until); err != nil {
		t.Fatal(err)
	}
	b.names["$CA"], b.names["$OTHER"] = filepath.Join(b.folder, "ca.pem"), filepath.Join(b.folder, "other.pem")
	b.add(t, "$HTTP", testbed.Healthy, nil)
	b.add(t, "$TLS", testbed.Healthy, certificate)
	b.add(t, "$MIRROR", testbed.Healthy, nil)
	b.add(t, "$LOGIN", testbed.BasicLogin("form", "form", testbed.Healthy), nil)
	b.add(t, "$BROKEN", testbed.Answer(http.StatusInternalServerError, nil, ""), nil)
	b.add(t, "$DEAD", testbed.Healthy, nil)
	if err := b.registries["$DEAD"].RefuseConnections(); err != nil {
		t.Fatal(err)
	}
	b.names["$LOCAL"] = strings.Replace(b.names["$HTTP"], "0.0.0.0", "127.0.0.1", 1)
	b.names["$LOCALTLS"] = strings.Replace(b.names["$TLS"], "0.0.0.0", "127.0.0.1", 1)
	b.start(t, "")
	return b
}

// start stops the previous containerd and starts a new one. It also looks for a hosts.toml
// in the folder more, unless that is empty.
func (b *hostsFixture) start(t *testing.T, more string) {
	t.Helper()
	if b.containerd != nil {
		b.containerd.Stop()
	}
	containerd, err := testbed.StartContainerd(testContext(t), testbed.RuntimeOptions{
		Folder: filepath.Join(b.folder, "containerd"), SandboxImage: sandboxImage, MoreHosts: more,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.containerd, b.more = containerd, more
}

func (b *hostsFixture) add(t *testing.T, name string, fault testbed.Fault, certificate *tls.Certificate) {
	t.Helper()
	registry := testbed.StartFaultyRegistry(b.record(name, fault), certificate)
	t.Cleanup(registry.Close)
	b.registries[name] = registry
	_, host, _ := strings.Cut(registry.Address(), "://")
	b.names[name] = strings.Replace(host, "127.0.0.1", "0.0.0.0", 1)
}

func (b *hostsFixture) expand(text string) string {
	return os.Expand(text, func(name string) string { return b.names["$"+name] })
}

// write writes a form's folder.
func (b *hostsFixture) write(t *testing.T, f *hostsForm) {
	t.Helper()
	folder := filepath.Join(b.folder, "containerd", "certs.d", b.names[f.registry])
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	put := func(name, content string) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	content := b.expand(f.file)
	for line := range strings.Lines(f.header) {
		option, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "# "), ":")
		switch option {
		case "beside":
			name, source, _ := strings.Cut(value, " =")
			var certificate []byte
			if source != "" {
				var err error
				if certificate, err = os.ReadFile(b.expand(strings.TrimSpace(source))); err != nil {
					t.Fatal(err)
				}
			}
			put(strings.TrimSpace(name), string(certificate))
		case "BOM":
			content = "\ufeff" + content
		case "CRLF":
			content = strings.ReplaceAll(content, "\n", "\r\n")
		}
	}
	if !strings.Contains(f.header, "# no file\n") {
		put("hosts.toml", content)
	}
}

// pull pulls an image that no other form has and returns the servers it came from.
func (b *hostsFixture) pull(t *testing.T, f *hostsForm, number int) string {
	t.Helper()
	repository := fmt.Sprintf("forms/form-%d", number)
	image, err := testbed.SmallImage(fmt.Sprint(f.name, number))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"$HTTP", "$TLS", "$MIRROR", "$LOGIN"} {
		if err := b.registries[name].Push(testContext(t), repository+":1", image); err != nil {
			t.Fatal(err)
		}
	}
	host := b.names[f.registry]
	login := &runtimeapi.AuthConfig{Username: "form", Password: "form", ServerAddress: "http://" + host}
	b.mu.Lock()
	b.served = nil
	b.mu.Unlock()
	_, err = dial(t, b.containerd.Socket()).Images.PullImage(testContext(t), &runtimeapi.ImageSpec{Image: host + "/" + repository + ":1"}, login, nil)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		t.Log(err)
		return "fails"
	}
	verdict := b.served[0]
	if last := b.served[len(b.served)-1]; last != verdict {
		verdict += ", layers " + last
	}
	return verdict
}

// TestHostsForms pulls with each form of hosts.toml and requires the table's verdict for
// this version of containerd.
func TestHostsForms(t *testing.T) {
	b := newHostsFixture(t)
	t.Cleanup(func() { b.containerd.Stop() })
	answer, err := dial(t, b.containerd.Socket()).Runtime.Version(testContext(t), "v1")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`\d+\.\d+\.\d+`).FindString(answer.GetRuntimeVersion())
	comment, forms := readForms(t)
	record := os.Getenv("RECORD_HOSTS") != ""
	if _, ok := forms[0].verdicts[version]; !ok && !record {
		t.Skipf("the table has no verdicts of containerd %s", version)
	}
	for i, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			more := ""
			if strings.Contains(f.header, "# folders: 2\n") {
				more = filepath.Join(b.folder, "more")
			}
			if more != b.more {
				b.start(t, more)
			}
			b.write(t, f)
			got := b.pull(t, f, i)
			if want := f.verdicts[version]; got != want && !record {
				t.Errorf("containerd %s: %s, want %s", version, got, want)
			}
			f.verdicts[version] = got
		})
	}
	if record && !t.Failed() {
		recordForms(t, comment, forms, []string{"1.6.20", "2.4.2"})
	}
}
