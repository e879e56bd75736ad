package ledger

import (
	"cmp"
	"slices"
	"strings"
)

// Search returns the entries with text in their original, stored reference, registry or image
// ID, ignoring case, newest first. all is the number of all entries. Search takes time
// proportional to the size of the ledger, and holds the lock only while it copies the entries.
func (l *Ledger) Search(text string) (found []Entry, all int) {
	text = strings.ToLower(text)
	entries := l.entries()
	for _, e := range entries {
		if slices.ContainsFunc([]string{e.Original, e.Stored, e.Registry, e.Image}, func(field string) bool {
			return strings.Contains(strings.ToLower(field), text)
		}) {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b Entry) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Original, b.Original))
	})
	return found, len(entries)
}

func (l *Ledger) entries() []Entry {
	l.mutex.RLock()
	defer l.mutex.RUnlock()
	entries := make([]Entry, 0, len(l.names))
	for _, e := range l.names {
		entries = append(entries, e)
	}
	return entries
}
