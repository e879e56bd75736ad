package daemon

import (
	"io"
	"os"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc/codes"

	"image-cri-shim/proxy"
	"image-cri-shim/rewrite"
)

// newLogger writes lines fit for journald, which adds the time itself.
func newLogger(output io.Writer, debug bool) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(output)
	_, underSystemd := os.LookupEnv("JOURNAL_STREAM") // systemd.exec(5)
	log.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true, DisableTimestamp: underSystemd})
	setDebug(log, debug)
	return log
}

// setDebug says whether each call gets a line.
func setDebug(log *logrus.Logger, debug bool) {
	log.SetLevel(logrus.InfoLevel)
	if debug {
		log.SetLevel(logrus.DebugLevel)
	}
}

// logCall writes the line of one call, at debug level, and a warning for an answer that
// shows the registry's image names.
func logCall(log *logrus.Logger, call *proxy.Call) {
	if call.Unrestored {
		log.WithFields(logrus.Fields{"method": call.Method, "bytes": call.Responses.Bytes}).
			Warn("the answer was passed on with the registry's image names: it is too large to be changed")
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

// logDecision writes the line of one decision about an image name.
func logDecision(log *logrus.Logger, d rewrite.Decision) {
	level := decisionLevel(d)
	if !log.IsLevelEnabled(level) {
		return
	}
	fields := logrus.Fields{"asked": d.Asked, "served": d.Served, "registry": d.Registry, "reason": d.Reason, "duration": d.Duration}
	if d.Names != "" {
		fields["names"] = d.Names
	}
	if d.Err != nil {
		fields[logrus.ErrorKey] = d.Err
	}
	log.WithFields(fields).Log(level, d.Method)
}

// decisionLevel returns the info level if something is done with the image, and the
// debug level if it is only looked at, which kubelet does all the time. It returns
// the warning level if the runtime has failed to say whether the image is there,
// and nothing else has shown that it is.
func decisionLevel(d rewrite.Decision) logrus.Level {
	looksOnly := false
	switch d.Method {
	case "ImageStatus", "ListImages", "StreamImages":
		looksOnly = true
	}
	switch {
	case d.Failed != nil && !(looksOnly && d.Served != ""):
		return logrus.WarnLevel
	case looksOnly:
		return logrus.DebugLevel
	}
	return logrus.InfoLevel
}
