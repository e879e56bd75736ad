package keychain

import "fmt"

// Credentials is a login for the registry at ServerAddress, with a password or one of the
// tokens. The zero value means anonymous access.
type Credentials struct {
	Username      string
	Password      string `json:"-"`
	IdentityToken string `json:"-"` // exchanged at the registry's token server
	RegistryToken string `json:"-"` // sent to the registry unchanged
	ServerAddress string // scheme://host
}

// Format prints credentials without their secrets.
func (c Credentials) Format(state fmt.State, _ rune) {
	text := c.Username
	switch {
	case c == (Credentials{}):
		text = "no credentials"
	case c.RegistryToken != "":
		text = "a registry token at " + c.ServerAddress
	case c.IdentityToken != "":
		text = "an identity token at " + c.ServerAddress
	default:
		text += " at " + c.ServerAddress
	}
	_, _ = fmt.Fprint(state, text)
}
