package daemon

import (
	"io"
	"os"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"image-cri-shim/proxy"
	"image-cri-shim/rewrite"
)

// newLogger returns a logger. Under journald, its lines have no time, because journald adds
// it.
func newLogger(output io.Writer, debug bool) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(output)
	_, underSystemd := os.LookupEnv("JOURNAL_STREAM") // systemd.exec(5)
	log.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true, DisableTimestamp: underSystemd})
	setDebug(log, debug)
	return log
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
func logDecision(log *logrus.Logger, d rewrite.Decision) {
	level := decisionLevel(d)
	if !log.IsLevelEnabled(level) {
		return
	}
	fields := logrus.Fields{"asked": d.Asked, "served": d.Served, "registry": d.Registry, "reason": d.Reason, "duration": d.Duration}
	if d.Pod != "" {
		fields["namespace"], fields["pod"] = d.Namespace, d.Pod
	}
	if d.Names != "" {
		fields["names"] = d.Names
	}
	if d.Err != nil {
		fields[logrus.ErrorKey] = d.Err
	}
	log.WithFields(fields).Log(level, d.Method)
}

// decisionLevel returns the level of a decision: info for calls that change images, debug
// for read-only calls, which kubelet makes continuously. It is error for a failed pull, unless
// the client canceled it, and warning if the runtime failed to answer whether the image is
// present, except for a read-only call that was served.
func decisionLevel(d rewrite.Decision) logrus.Level {
	readOnly := false
	switch d.Method {
	case "ImageStatus", "ListImages", "StreamImages":
		readOnly = true
	}
	switch {
	case d.Method == "PullImage" && d.Err != nil && status.Code(d.Err) != codes.Canceled:
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
