// Package redact masks secrets in CRI messages and in texts about them.
//
// Messages are masked by an allowlist: [Message] masks each string field that is not
// known to be free of secrets. A field that a later version of the CRI adds is masked
// until it is listed in fields.go. Strings that are shown still pass through [Field],
// [FreeText] or [Args], which mask substrings that look like credentials.
package redact
