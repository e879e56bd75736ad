package page

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"net/http"
	"strings"
)

var (
	//go:embed assets/page.html
	markup string
	//go:embed assets/page.css
	style string
	//go:embed assets/script/*.js
	scripts embed.FS
)

// script is the document's script. Only live.js runs statements that need the other files.
var script = joinScripts("elements", "times", "names", "sections", "overview", "decisions", "resolve", "ledger", "live")

func joinScripts(names ...string) string {
	var joined strings.Builder
	joined.WriteString("\"use strict\";\n")
	for _, name := range names {
		text, err := scripts.ReadFile("assets/script/" + name + ".js")
		if err != nil {
			panic(err) // the file is not embedded
		}
		joined.Write(text)
	}
	return joined.String()
}

// document is the page with its style and script inlined.
var document = strings.NewReplacer("/*style*/", style, "/*script*/", script).Replace(markup)

// contentSecurityPolicy permits only the document's own script and style, and requests to
// this server. Trusted Types keep the script from parsing text as markup.
var contentSecurityPolicy = strings.Join([]string{
	"default-src 'none'",
	"script-src " + cspHash(script),
	"style-src " + cspHash(style),
	"img-src data:", // the icon
	"connect-src 'self'",
	"base-uri 'none'",
	"form-action 'none'",
	"frame-ancestors 'none'",
	"require-trusted-types-for 'script'",
	"trusted-types 'none'",
}, "; ")

// cspHash returns the source expression that permits an inline script or style
// (https://www.w3.org/TR/CSP3/#grammardef-hash-source).
func cspHash(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func serveDocument(response http.ResponseWriter, _ *http.Request) {
	response.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = response.Write([]byte(document)) // the client may have disconnected
}
