package cli

import (
	"context"
	"log/slog"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"
	"k8s.io/klog/v2"
)

// newLog returns the log of a command, which is also that of client-go.
func newLog(c *cli.Context) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(c.App.ErrWriter)
	log.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true})
	klog.SetSlogLogger(slog.New(logHandler{log}))
	return log
}

// logHandler is a [slog.Handler] that writes to a log of logrus.
type logHandler struct{ log logrus.FieldLogger }

// Enabled reports false for the details of client-go, which have negative levels.
func (logHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (h logHandler) Handle(_ context.Context, record slog.Record) error {
	record.Attrs(func(a slog.Attr) bool {
		h = h.with(a)
		return true
	})
	switch {
	case record.Level >= slog.LevelError:
		h.log.Error(record.Message)
	case record.Level >= slog.LevelWarn:
		h.log.Warn(record.Message)
	default:
		h.log.Info(record.Message)
	}
	return nil
}

func (h logHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	for _, a := range attributes {
		h = h.with(a)
	}
	return h
}

// WithGroup ignores the group: client-go has none.
func (h logHandler) WithGroup(string) slog.Handler { return h }

func (h logHandler) with(a slog.Attr) logHandler {
	return logHandler{h.log.WithField(a.Key, a.Value.Resolve().Any())}
}
