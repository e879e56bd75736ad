package registry

import (
	"path"
	"strings"

	"github.com/distribution/reference"
)

// template makes the repository that a registry has an image in.
type template string

// repository applies the template to an original.
func (t template) repository(original reference.Named) string {
	repository := reference.Path(original)
	return strings.NewReplacer(
		"{domain}", asElement(reference.Domain(original)),
		"{path}", repository,
		"{name}", path.Base(repository),
	).Replace(string(t))
}

// asElement makes a domain fit to be an element of a repository, which knows
// neither upper case nor ":" nor the brackets of an IPv6 address.
func asElement(domain string) string {
	element := strings.NewReplacer(":", "_", "[", "", "]", "").Replace(strings.ToLower(domain))
	return strings.Trim(element, "_")
}
