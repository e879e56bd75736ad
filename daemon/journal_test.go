package daemon

import (
	"testing"

	"github.com/sirupsen/logrus"
)

// TestPriorities requires the journal's priority at the beginning of the lines of each level.
func TestPriorities(t *testing.T) {
	prefixes := map[logrus.Level]string{
		logrus.PanicLevel: "<2>", logrus.FatalLevel: "<2>", logrus.ErrorLevel: "<3>", logrus.WarnLevel: "<4>",
		logrus.InfoLevel: "<6>", logrus.DebugLevel: "<7>", logrus.TraceLevel: "<7>",
	}
	format := &journalFormatter{&logrus.TextFormatter{DisableColors: true, DisableTimestamp: true}}
	for _, level := range logrus.AllLevels {
		line, err := format.Format(&logrus.Entry{Logger: logrus.New(), Level: level, Message: "two\nlines", Data: logrus.Fields{"k": "v\n<0>w"}})
		if want := prefixes[level] + "level=" + level.String() + ` msg="two\nlines" k="v\n<0>w"` + "\n"; err != nil || string(line) != want {
			t.Errorf("%v: %q, %v, want %q", level, line, err, want)
		}
	}
}
