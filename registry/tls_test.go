package registry_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"image-cri-shim/registry"
)

const tlsRecord = 0x16 // first byte of a TLS connection

// authority creates a CA. It returns the PEM file of the CA and a server configuration with
// a certificate for the loopback addresses.
func authority(t *testing.T) (file string, config *tls.Config) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	encodedCA, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	check(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 2)},
	}
	encoded, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	check(err)
	file = filepath.Join(t.TempDir(), "ca.pem")
	check(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: encodedCA}), 0o600))
	return file, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{encoded}, PrivateKey: key}}}
}

// A registry must be reached only over the configured scheme, whether or not
// go-containerregistry treats its host as local.
var loopbacks = []string{"127.0.0.1:0", "127.0.0.2:0"}

func TestTLS(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	ca, serverConfig := authority(t)
	otherCA, _ := authority(t)
	tests := []struct {
		name   string
		config registry.Config
		state  registry.State
		err    string
	}{
		{"own CA", registry.Config{CA: ca}, registry.Found, ""},
		{"another CA", registry.Config{CA: otherCA}, registry.Unknown, "check ca"},
		{"no CA", registry.Config{}, registry.Unknown, "check ca"},
		{"anything goes", registry.Config{InsecureSkipVerify: true}, registry.Found, ""},
	}
	for _, address := range loopbacks {
		for _, test := range tests {
			t.Run(test.name+" on "+address, func(t *testing.T) {
				t.Parallel()
				server := serve(t, basicAuth(contents), onAddress(t, address), withTLS(serverConfig))
				config := test.config
				config.Address, config.Username, config.Password = server.URL, username, password
				answer := findOne(t, newSet(t, registry.Options{Registries: []registry.Config{config}}), "nginx:1.25")
				if answer.State != test.state || (test.err != "" && !strings.Contains(fmt.Sprint(answer.Err), test.err)) {
					t.Errorf("%v (%v), want %v with %q", answer.State, answer.Err, test.state, test.err)
				}
				for _, first := range server.seenFirstBytes() {
					if first != tlsRecord {
						t.Errorf("a connection began with %q, not with TLS", first)
					}
				}
			})
		}
	}
}

// The CA of one registry is not trusted for another one.
func TestTrustIsPerRegistry(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	ca, serverConfig := authority(t)
	trusted, untrusted := serve(t, contents, withTLS(serverConfig)), serve(t, contents, withTLS(serverConfig))
	set := newSet(t, registry.Options{Registries: []registry.Config{
		{Address: trusted.URL, CA: ca}, {Address: untrusted.URL},
	}})
	answers := find(t, set, "nginx:1.25")
	if answers[0].State != registry.Found || answers[1].State != registry.Unknown {
		t.Errorf("%v and %v, want the first alone found", answers[0].State, answers[1].State)
	}
}

func TestPlainHTTP(t *testing.T) {
	contents := newStorage()
	contents.push(t, "library/nginx:1.25")
	for _, address := range loopbacks {
		t.Run(address, func(t *testing.T) {
			server := serve(t, basicAuth(contents), onAddress(t, address))
			if answer := findOne(t, newSetOf(t, server.URL), "nginx:1.25"); answer.State != registry.Found {
				t.Errorf("%v (%v), want it found", answer.State, answer.Err)
			}
			if bytes.Contains(server.seenFirstBytes(), []byte{tlsRecord}) {
				t.Error("https was tried on an http registry")
			}
		})
	}
}

// The credentials of an https registry are never sent over http, neither if the server
// speaks http nor if it redirects to http.
func TestHTTPSIsNeverLeft(t *testing.T) {
	ca, serverConfig := authority(t)
	for _, address := range loopbacks {
		t.Run("plain server on "+address, func(t *testing.T) {
			server := serve(t, newStorage(), onAddress(t, address))
			answer := findOne(t, newSetOf(t, strings.Replace(server.URL, "http://", "https://", 1)), "nginx")
			if answer.State != registry.Unknown || !strings.Contains(fmt.Sprint(answer.Err), "write http://") {
				t.Errorf("%v (%v), want it to say that there is no TLS", answer.State, answer.Err)
			}
			for _, first := range server.seenFirstBytes() {
				if first != tlsRecord {
					t.Errorf("a connection began with %q, not with TLS", first)
				}
			}
		})
		t.Run("redirect from "+address, func(t *testing.T) {
			contents := newStorage()
			contents.push(t, "library/nginx:1.25")
			plain := serve(t, contents, onAddress(t, address))
			server := serve(t, basicAuth(on(isManifest, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, plain.URL+r.URL.Path, http.StatusTemporaryRedirect)
			}, contents)), onAddress(t, address), withTLS(serverConfig))
			answer := findOne(t, newSet(t, registry.Options{Registries: []registry.Config{
				{Address: server.URL, CA: ca, Username: username, Password: password},
			}}), "nginx:1.25")
			if answer.State != registry.Unknown || !strings.Contains(fmt.Sprint(answer.Err), "plain http") {
				t.Errorf("%v (%v), want the redirect refused", answer.State, answer.Err)
			}
			if got := len(plain.seenFirstBytes()); got != 0 {
				t.Errorf("%d connections over plain http", got)
			}
		})
	}
}

// The credentials are also not sent to a token server over http.
func TestTokenServerOfHTTPSSpeaksHTTPS(t *testing.T) {
	ca, serverConfig := authority(t)
	plain := serve(t, withTokens(newStorage(), false))
	server := serve(t, challenge(strings.Replace(plain.URL, "127.0.0.1", "localhost", 1)+"/token"), withTLS(serverConfig))
	answer := findOne(t, newSet(t, registry.Options{Registries: []registry.Config{
		{Address: server.URL, CA: ca, Username: username, Password: password},
	}}), "nginx:1.25")
	if answer.State != registry.Unknown || !strings.Contains(fmt.Sprint(answer.Err), "use https") {
		t.Errorf("%v (%v), want the token server refused", answer.State, answer.Err)
	}
	if got := len(plain.seenFirstBytes()); got != 0 {
		t.Errorf("%d connections over plain http", got)
	}
}

func TestRedirectToHTTPSIsExplained(t *testing.T) {
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://"+r.Host+r.URL.Path, http.StatusMovedPermanently)
	}))
	answer := findOne(t, newSetOf(t, server.URL), "nginx")
	if answer.State != registry.Unknown || !strings.Contains(fmt.Sprint(answer.Err), "write https://") {
		t.Errorf("%v (%v), want it to say so", answer.State, answer.Err)
	}
}

// A Location header without a scheme is not a redirect to https, regardless of the scheme
// that was tried first.
func TestRedirectLoopIsExplained(t *testing.T) {
	server := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path, http.StatusMovedPermanently)
	}))
	answer := findOne(t, newSetOf(t, server.URL), "nginx")
	if answer.State != registry.Unknown || !strings.Contains(fmt.Sprint(answer.Err), "stopped after 10 redirects") {
		t.Errorf("%v (%v), want it to say so", answer.State, answer.Err)
	}
}
