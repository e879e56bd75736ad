package registry

import (
	"cmp"
	"fmt"
	"path"
	"strings"

	"github.com/distribution/reference"
)

// template makes the repository that a registry has an image in.
type template string

func parseTemplate(text string) (template, error) {
	t := template(cmp.Or(strings.Trim(text, "/"), "{path}"))
	if !strings.Contains(string(t), "{path}") && !strings.Contains(string(t), "{name}") {
		return "", fmt.Errorf("the path %q needs {path} or {name}, or all images would be one", text)
	}
	if _, err := parseRepository("localhost/" + t.expand("domain", "path", "name")); err != nil {
		return "", fmt.Errorf("the path %q makes no repository (it may hold {domain}, {path}, {name} and lower-case text): %w", text, err)
	}
	return t, nil
}

// repository applies the template to an original.
func (t template) repository(original reference.Named) string {
	repository := reference.Path(original)
	return t.expand(asElement(reference.Domain(original)), repository, path.Base(repository))
}

func (t template) expand(domain, path, name string) string {
	return strings.NewReplacer("{domain}", domain, "{path}", path, "{name}", name).Replace(string(t))
}

// asElement makes a domain fit to be an element of a repository, which knows
// neither upper case nor ":" nor the brackets of an IPv6 address.
func asElement(domain string) string {
	element := strings.NewReplacer(":", "_", "[", "", "]", "").Replace(strings.ToLower(domain))
	return strings.Trim(element, "_")
}
