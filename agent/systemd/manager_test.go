package systemd

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestReexecution ends all connections before a call, during a call, and while the result of a
// job is awaited, as systemctl daemon-reexec does.
func TestReexecution(t *testing.T) {
	s, m := newTestSystemd(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := m.Start(ctx, "a.service"); err != nil {
		t.Fatal(err)
	}
	s.drop()
	if err := m.Reload(ctx); err != nil {
		t.Errorf("reload on an ended connection: %v", err)
	}
	for name, onStart := range map[string]func(number int) bool{
		"during the call": func(number int) bool {
			if number == 1 {
				s.drop()
			}
			return true
		},
		"before the result": func(number int) bool {
			if number == 1 {
				time.AfterFunc(50*time.Millisecond, s.drop)
			}
			return number > 1
		},
	} {
		s.again(onStart)
		if err := m.Start(ctx, "b.service"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLimit requires that a job without a result ends with the context.
func TestLimit(t *testing.T) {
	s, m := newTestSystemd(t)
	s.again(func(int) bool { return false })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := m.Start(ctx, "a.service"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Start returns %v", err)
	}
	err := m.call(t.Context(), 50*time.Millisecond, func(ctx context.Context, _ *dbus.Conn) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if err == nil || err.Error() != "systemd has not answered within 50ms" {
		t.Errorf("call returns %v", err)
	}
}
