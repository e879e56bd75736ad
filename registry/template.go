package registry

import (
	"path"
	"strings"

	"github.com/distribution/reference"
)

// template is the pattern of the repository in which a registry has an image.
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

// asElement converts a domain to an element of a repository, which must not contain upper
// case, ":" or the brackets of an IPv6 address.
func asElement(domain string) string {
	element := strings.NewReplacer(":", "_", "[", "", "]", "").Replace(strings.ToLower(domain))
	return strings.Trim(element, "_")
}
