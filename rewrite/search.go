package rewrite

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Name is what the ledger has for an original reference.
type Name struct {
	Original string    // that was asked for
	Image    string    // the ID of the image that it means
	Stored   string    // what the runtime was asked for when it was pulled
	Registry string    // the address of the registry that served it; may be empty
	At       time.Time // of the pull
}

// Search returns the names that have a text in one of their fields, whatever its case,
// the newest first. It takes time in proportion to the ledger, and holds up nobody but
// for a copy of it.
func (l *Ledger) Search(text string) (found []Name, all int) {
	text = strings.ToLower(text)
	entries := l.entries()
	for _, e := range entries {
		if slices.ContainsFunc([]string{e.Original, e.Stored, e.Registry, e.Image}, func(field string) bool {
			return strings.Contains(strings.ToLower(field), text)
		}) {
			found = append(found, Name{Original: e.Original, Image: e.Image, Stored: e.Stored, Registry: e.Registry, At: e.At})
		}
	}
	slices.SortFunc(found, func(a, b Name) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Original, b.Original))
	})
	return found, len(entries)
}

func (l *Ledger) entries() []entry {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	entries := make([]entry, 0, len(l.names))
	for _, e := range l.names {
		entries = append(entries, e)
	}
	return entries
}
