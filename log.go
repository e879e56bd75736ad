package main

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

// logCall writes the line of one call, at debug level.
func logCall(log *logrus.Logger, call *proxy.Call) {
	if !log.IsLevelEnabled(logrus.DebugLevel) {
		return
	}
	entry := log.WithFields(logrus.Fields{"method": call.Method, "code": call.Code, "duration": call.Duration})
	if call.Code != codes.OK {
		entry = entry.WithError(call.Err)
	}
	entry.Debug("call")
}

// logDecision writes the line of one decision about an image name: at info
// level where something is done with the image, at debug level where it is only
// looked at, which kubelet does all the time.
func logDecision(log *logrus.Logger, d rewrite.Decision) {
	level := logrus.InfoLevel
	switch d.Method {
	case "ImageStatus", "ListImages", "StreamImages":
		level = logrus.DebugLevel
	}
	if !log.IsLevelEnabled(level) {
		return
	}
	fields := logrus.Fields{"asked": d.Asked, "served": d.Served, "registry": d.Registry, "reason": d.Reason, "duration": d.Duration}
	if d.Err != nil {
		fields[logrus.ErrorKey] = d.Err
	}
	log.WithFields(fields).Log(level, d.Method)
}
