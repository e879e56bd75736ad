package daemon

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/sirupsen/logrus"
)

// isJournal reports whether output is the standard error that systemd has connected to the
// journal (JOURNAL_STREAM in systemd.exec(5)).
func isJournal(output io.Writer) bool {
	connected, err := journal.StderrIsJournalStream()
	return output == os.Stderr && err == nil && connected
}

// WriteError writes the error of a command. In the journal, each line has the priority of an
// error.
func WriteError(output io.Writer, text string) {
	if isJournal(output) {
		prefix := priorityPrefix(logrus.ErrorLevel)
		text = prefix + strings.ReplaceAll(text, "\n", "\n"+prefix)
	}
	fmt.Fprintln(output, text)
}

// journalFormatter begins each line with its priority, which the journal removes
// (SyslogLevelPrefix= in systemd.exec(5)). The lines have no time, because the journal adds it.
type journalFormatter struct{ *logrus.TextFormatter }

// Format implements [logrus.Formatter].
func (f *journalFormatter) Format(entry *logrus.Entry) ([]byte, error) {
	line, err := f.TextFormatter.Format(entry)
	if err != nil {
		return nil, err
	}
	return append([]byte(priorityPrefix(entry.Level)), line...), nil
}

// priorityPrefix returns the prefix of a line for the journal (sd-daemon(3)).
func priorityPrefix(level logrus.Level) string {
	priority := journal.PriDebug
	switch level {
	case logrus.PanicLevel, logrus.FatalLevel:
		priority = journal.PriCrit
	case logrus.ErrorLevel:
		priority = journal.PriErr
	case logrus.WarnLevel:
		priority = journal.PriWarning
	case logrus.InfoLevel:
		priority = journal.PriInfo
	}
	return fmt.Sprintf("<%d>", priority)
}
