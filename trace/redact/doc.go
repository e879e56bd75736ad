// Package redact masks secrets in CRI messages and in texts about them.
//
// A message is shown by an allowlist: [Message] masks each string field that is not
// known to be free of secrets, so a field of a later CRI is masked until it is added to
// the tables in fields.go. Texts that are shown still pass [Field], [FreeText] or [Args],
// which mask substrings that look like credentials.
package redact
