package page

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestWhoIsAnswered(t *testing.T) {
	_, server := serve(t, healthySources())
	host := func(host string) func(*http.Request) {
		return func(request *http.Request) { request.Host = host }
	}
	from := func(site, mode string) func(*http.Request) {
		return func(request *http.Request) {
			request.Header.Set("Sec-Fetch-Site", site)
			request.Header.Set("Sec-Fetch-Mode", mode)
		}
	}
	through := func(header string) func(*http.Request) {
		return func(request *http.Request) { request.Header.Set(header, "192.0.2.2") }
	}
	for name, test := range map[string]struct {
		change func(*http.Request)
		code   int
	}{
		"its address":                         {unchanged, http.StatusOK},
		"localhost":                           {host("LocalHost:9465"), http.StatusOK},
		"no port":                             {host("localhost"), http.StatusOK},
		"IPv6":                                {host("[::1]:9465"), http.StatusOK},
		"IPv6 without a port":                 {host("[::1]"), http.StatusOK},
		"the configured host":                 {host("Node-1.example:9465"), http.StatusOK},
		"a name that resolves to this host":   {host("attacker.example:9465"), http.StatusForbidden},
		"a name with localhost as its prefix": {host("localhost.attacker.example"), http.StatusForbidden},
		"an address as part of a name":        {host("127.0.0.1.attacker.example"), http.StatusForbidden},
		"its own document":                    {from("same-origin", "cors"), http.StatusOK},
		"typed in":                            {from("none", "navigate"), http.StatusOK},
		"a link elsewhere":                    {from("cross-site", "navigate"), http.StatusOK},
		"a script elsewhere":                  {from("cross-site", "no-cors"), http.StatusForbidden},
		"a script of another local port":      {from("same-site", "cors"), http.StatusForbidden},
		"through a proxy":                     {through("X-Forwarded-For"), http.StatusForbidden},
		"through RFC 7239's proxy":            {through("Forwarded"), http.StatusForbidden},
		"through RFC 9110's proxy":            {through("Via"), http.StatusForbidden},
		"POST":                                {func(r *http.Request) { r.Method = http.MethodPost }, http.StatusMethodNotAllowed},
		"HEAD":                                {func(r *http.Request) { r.Method = http.MethodHead }, http.StatusMethodNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/", "/snapshot", "/ledger?q=x"} {
				response, _ := ask(t, server, path, test.change)
				if response.StatusCode != test.code {
					t.Errorf("%s: got %d, want %d", path, response.StatusCode, test.code)
				}
				for header, want := range map[string]string{
					"X-Content-Type-Options":       "nosniff",
					"Cache-Control":                "no-store",
					"Content-Security-Policy":      contentSecurityPolicy,
					"Cross-Origin-Resource-Policy": "same-origin",
					"Access-Control-Allow-Origin":  "",
				} {
					if got := response.Header.Get(header); got != want {
						t.Errorf("%s: %s is %q, want %q", path, header, got, want)
					}
				}
			}
		})
	}
}

func TestUnknownPath(t *testing.T) {
	_, server := serve(t, healthySources())
	if response, _ := ask(t, server, "/nothing", unchanged); response.StatusCode != http.StatusNotFound {
		t.Errorf("got %s", response.Status)
	}
}

// TestDocumentIsWhole requires that the document has one style and one script, that its
// policy allows them by their hashes, and that it refers to no other resource.
func TestDocumentIsWhole(t *testing.T) {
	_, server := serve(t, healthySources())
	response, document := ask(t, server, "/", unchanged)
	allowed := response.Header.Get("Content-Security-Policy")
	for _, kind := range []string{"style", "script"} {
		found := regexp.MustCompile(`(?s)<`+kind+`[^>]*>(.*?)</`+kind+`>`).FindAllStringSubmatch(document, -1)
		if len(found) != 1 {
			t.Fatalf("the document has %d of %s", len(found), kind)
		}
		if len(found[0][1]) < 1000 || !strings.Contains(allowed, kind+"-src "+cspHash(found[0][1])+";") {
			t.Errorf("the policy does not allow the document's %s: %s", kind, allowed)
		}
	}
	icon := regexp.MustCompile(`href="data:image/svg[^"]*"`)
	if outside := regexp.MustCompile(`https?://[^\s"']*|\bsrc=|url\(|@import`).FindAllString(icon.ReplaceAllString(document, ""), -1); len(outside) > 0 {
		t.Errorf("the document refers to %q", outside)
	}
	if markup := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b`).FindAllString(script, -1); len(markup) > 0 {
		t.Errorf("the script parses text as markup: %q", markup)
	}
}
