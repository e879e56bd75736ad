package cli

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"image-cri-shim/agent/status"
)

// TestReasonIsShown requires that the metrics of an agent that fails at the start show the reason
// for a while, and that a signal ends the wait.
func TestReasonIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logrus.New()
		log.SetOutput(t.Output())
		s := &metricsServer{address: "10.0.0.5:9466", log: log}
		if _, err := s.status(); err == nil {
			t.Fatal("this process has a status without an agent")
		}
		start := time.Now()
		s.showFailure(t.Context(), nil)
		(&metricsServer{log: log}).showFailure(t.Context(), errors.New("systemd does not answer"))
		if took := time.Since(start); took > 0 {
			t.Errorf("an agent without a failure or without metrics waited %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		s.showFailure(ctx, errors.New("systemd does not answer"))
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("waited %s after a signal, want none", took)
		}
		s.showFailure(t.Context(), errors.New("systemd does not answer"))
		if took := time.Since(start); took != 10*time.Second+showTime {
			t.Errorf("waited %s, want %s", took, showTime)
		}
		got, err := s.status()
		if err != nil || got.StateAt(time.Now()) != status.Failed || got.CheckReady(time.Now()).Error() != "systemd does not answer" {
			t.Errorf("the status is %+v, %v", got, err)
		}
	})
}
