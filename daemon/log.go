package daemon

import (
	"cmp"
	"errors"
	"io"
	stdlog "log"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc/codes"

	"image-cri-shim/printable"
	"image-cri-shim/proxy"
	"image-cri-shim/proxy/intercept"
	"image-cri-shim/rewrite"
)

// newLogger returns a logger. In the journal, its lines have a priority instead of a time.
func newLogger(output io.Writer, debug bool) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(output)
	format := &logrus.TextFormatter{DisableColors: true, FullTimestamp: true, SortingFunc: sortFields}
	log.SetFormatter(format)
	if isJournal(output) {
		format.DisableTimestamp = true
		log.SetFormatter(&journalFormatter{format})
	}
	log.AddHook(fieldHook{})
	setDebug(log, debug)
	return log
}

// firstFields are the fields at the beginning of a line, where a narrow terminal shows them.
var firstFields = []string{
	logrus.FieldKeyTime, logrus.FieldKeyLevel, logrus.FieldKeyMsg,
	"asked", "namespace", "pod", "served", "registry", "tried", "reason", "code", logrus.ErrorKey,
}

// sortFields sorts the names of a line's fields: firstFields, then the others by name.
func sortFields(names []string) {
	rank := func(name string) int {
		if i := slices.Index(firstFields, name); i >= 0 {
			return i
		}
		return len(firstFields)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(rank(a)-rank(b), strings.Compare(a, b)) })
}

// setDebug enables or disables logging of each call.
func setDebug(log *logrus.Logger, debug bool) {
	log.SetLevel(logrus.InfoLevel)
	if debug {
		log.SetLevel(logrus.DebugLevel)
	}
}

// logCall logs a call at debug level, and a warning if the response contains registry image
// names that could not be restored.
func logCall(log *logrus.Logger, call *proxy.Call) {
	if call.Unrestored {
		log.WithFields(logrus.Fields{"method": call.Method, "bytes": call.Responses.Bytes}).
			Warn("response forwarded with the registry's image names: too large for the requested names to be restored")
	}
	if !log.IsLevelEnabled(logrus.DebugLevel) {
		return
	}
	entry := log.WithFields(logrus.Fields{"method": call.Method, "code": call.Code, "duration": call.Duration})
	if call.Code != codes.OK {
		entry = entry.WithError(call.Err)
	}
	entry.Debug("call")
}

// logDecision logs a decision about an image name.
func logDecision(log *logrus.Logger, d rewrite.Decision, level logrus.Level) {
	if !log.IsLevelEnabled(level) {
		return
	}
	fields := logrus.Fields{"asked": d.Asked, "reason": d.Reason, "duration": d.Duration}
	for name, value := range map[string]string{"namespace": d.Namespace, "pod": d.Pod, "served": d.Served, "registry": d.Registry, "names": string(d.Names)} {
		if value != "" {
			fields[name] = value
		}
	}
	if d.Err != nil && d.Tried != "" { // the cause in the private registry comes first
		fields["tried"], fields["reason"] = d.Tried, d.BriefReason()
	}
	if d.Err != nil {
		fields[logrus.ErrorKey] = errorWithoutAttempts(d)
	}
	log.WithFields(fields).Log(level, d.Method)
}

// errorWithoutAttempts returns the text of the client's error without the registries in Tried,
// which the shim has appended to it.
func errorWithoutAttempts(d rewrite.Decision) string {
	text := d.Err.Error()
	if d.Tried == "" {
		return text
	}
	if explained, ok := errors.AsType[intercept.AppendedError](d.Err); ok {
		return strings.TrimSuffix(text, explained.Appended())
	}
	return strings.TrimSuffix(text, ", tried: "+d.Tried)
}

// decisionLevel returns the level of a decision: info for calls that change images, debug
// for read-only calls, which kubelet makes continuously. It is error for a failed pull, unless
// the client has canceled it, and warning if the runtime failed to answer whether the image is
// present, except for a read-only call that was served. canceled is set if the client has
// canceled the call.
func decisionLevel(d rewrite.Decision, canceled bool) logrus.Level {
	readOnly := false
	switch d.Method {
	case "ImageStatus", "ListImages", "StreamImages":
		readOnly = true
	}
	switch {
	case d.Method == "PullImage" && d.Err != nil && !canceled:
		return logrus.ErrorLevel
	case d.Failed != nil && !(readOnly && d.Served != ""):
		return logrus.WarnLevel
	case readOnly:
		return logrus.DebugLevel
	}
	return logrus.InfoLevel
}

// logBreaker returns a function that logs when the circuit of a registry opens and closes.
func logBreaker(log *logrus.Logger) func(registry string, open bool, reason string) {
	return func(registry string, open bool, reason string) {
		if open {
			log.WithFields(logrus.Fields{"registry": registry, "reason": reason}).Warn("registry is down, not asked until it answers again")
			return
		}
		log.WithField("registry", registry).Info("registry is back")
	}
}

// redirectStandardLog logs the lines of Go's package log as warnings until end is called.
// net/http uses that package for answers of registries that no request is waiting for.
func redirectStandardLog(log logrus.FieldLogger) (end func()) {
	output, flags := stdlog.Writer(), stdlog.Flags()
	stdlog.SetOutput(warningWriter{log})
	stdlog.SetFlags(0)
	return func() {
		stdlog.SetOutput(output)
		stdlog.SetFlags(flags)
	}
}

// warningWriter logs each line that is written to it as a warning, without received data, which
// may contain secrets.
type warningWriter struct{ log logrus.FieldLogger }

// Write implements [io.Writer].
func (w warningWriter) Write(line []byte) (int, error) {
	text, _, _ := strings.Cut(string(line), " starting with ") // of net/http, before data
	w.log.Warn(printable.Line(text, errorLimit))
	return len(line), nil
}
