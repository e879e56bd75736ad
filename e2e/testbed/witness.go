package testbed

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
)

// Witness remembers what reaches a server, to the last byte. Its methods are safe
// for concurrent use.
type Witness struct {
	mutex sync.Mutex
	seen  [][]byte
}

// Watch has the witness see each request before fault answers it.
func (w *Witness) Watch(fault Fault) Fault {
	return func(response http.ResponseWriter, request *http.Request, next http.Handler) {
		dump, err := httputil.DumpRequest(request, true)
		if err != nil {
			return // it was cut
		}
		w.mutex.Lock()
		w.seen = append(w.seen, dump)
		w.mutex.Unlock()
		fault(response, request, next)
	}
}

// Requests returns what came, each as it was on the wire.
func (w *Witness) Requests() [][]byte {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return append([][]byte(nil), w.seen...)
}

// Saw tells whether a secret came, in any form.
func (w *Witness) Saw(secret string) bool {
	for _, request := range w.Requests() {
		if Holds(request, secret) {
			return true
		}
	}
	return false
}

// Holds tells whether a secret is in a text: as it is, escaped as in URLs, in
// hexadecimal, or within what is encoded in base64, as a password is beside its
// user name.
func Holds(text []byte, secret string) bool {
	forms := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString([]byte(secret))}
	for before := range 3 { // bytes of a group of three that stand before the secret
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", before) + secret))
		whole := (before + len(secret)) / 3 * 4 // characters that nothing behind it changes
		forms = append(forms, encoded[(before+2)/3*4:whole])
	}
	for _, form := range forms {
		if bytes.Contains(text, []byte(form)) {
			return true
		}
	}
	return false
}
