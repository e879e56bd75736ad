package daemon

import (
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"image-cri-shim/printable"
	"image-cri-shim/trace/redact"
)

// fieldLimit bounds the texts in a line of the log, in bytes. The journal splits lines of more
// than 48 KiB (LineMax= in journald.conf(5)), and their rest has no priority. A runtime may send
// longer errors.
const fieldLimit = 4000

// redactLimit bounds the texts in which logins are masked, because package redact masks longer
// ones as a whole.
const redactLimit = 32 << 10

// fieldHook masks logins in the fields of each line, and shortens long fields in the middle: the
// operation is at the beginning of an error, and the cause at its end.
type fieldHook struct{}

// Levels implements [logrus.Hook].
func (fieldHook) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements [logrus.Hook].
func (fieldHook) Fire(entry *logrus.Entry) error {
	for name, value := range entry.Data {
		text, isText := value.(string)
		if err, isError := value.(error); isError && err != nil {
			text, isText = err.Error(), true
		}
		if !isText {
			continue
		}
		masked := text
		if len(masked) > redactLimit { // the middle is not shown anyway
			masked = masked[:redactLimit/2] + masked[len(masked)-redactLimit/2:]
		}
		if masked = redact.Field(masked); len(masked) > fieldLimit {
			masked = printable.Line(masked[:fieldLimit/2], fieldLimit/2) + " ... " + printable.End(masked, fieldLimit/2)
		}
		if masked != text {
			entry.Data[name] = masked
		}
	}
	return nil
}

// Limits of the failed pulls that are errors in the log. A node on which all pods start at
// once stays below them.
const (
	maxFailedPulls      = 300
	failedPullsInterval = 5 * time.Minute
)

// failedPulls counts the failed pulls in the log. It is safe for concurrent use.
type failedPulls struct {
	mutex sync.Mutex
	begin time.Time // of the interval
	count int       // in the interval
}

// limit returns the level of the line of a failed pull: error, or info after maxFailedPulls of
// them and one line that says so.
func (f *failedPulls) limit(log logrus.FieldLogger) logrus.Level {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if now := time.Now(); now.Sub(f.begin) >= failedPullsInterval {
		f.begin, f.count = now, 0
	}
	f.count++
	if f.count <= maxFailedPulls {
		return logrus.ErrorLevel
	}
	if f.count == maxFailedPulls+1 {
		log.Error(fmt.Sprintf("many pulls fail, further ones are logged at level info until %s", f.begin.Add(failedPullsInterval).Format(time.TimeOnly)))
	}
	return logrus.InfoLevel
}
