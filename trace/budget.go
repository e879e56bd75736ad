package trace

import "sync/atomic"

// budget limits the bytes of all messages that are held or being received. It is safe for
// concurrent use.
type budget struct{ used atomic.Int64 }

const budgetBytes = 32 << 20

// overBudget is the reason shown for a message that exceeded the budget.
const overBudget = "message buffer full"

// reserve reserves bytes. It returns false if they exceed the budget.
func (b *budget) reserve(bytes int) bool {
	if b.used.Add(int64(bytes)) > budgetBytes {
		b.release(bytes)
		return false
	}
	return true
}

func (b *budget) release(bytes int) { b.used.Add(-int64(bytes)) }
