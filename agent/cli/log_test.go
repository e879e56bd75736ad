package cli

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"testing"

	"github.com/urfave/cli/v2"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"
)

// TestLogOfClientGo requires that messages of client-go have the form of the agent's log, and
// that its details are left out.
func TestLogOfClientGo(t *testing.T) {
	var text bytes.Buffer
	newLog(cli.NewContext(&cli.App{ErrWriter: &text}, nil, nil))
	defer klog.ClearLogger()
	log := klog.FromContext(context.Background()).WithValues("name", "live")
	log.Info("watch ended")
	log.V(2).Info("a detail")
	utilruntime.HandleErrorWithContext(klog.NewContext(t.Context(), log), errors.New("connection refused"), "failed to watch", "type", "Secret")
	klog.Warningf("throttled for %d s", 7)
	klog.Flush()
	want := regexp.MustCompile(`^time="\S+" level=info msg="watch ended" name=live
time="\S+" level=error msg="failed to watch" .*err="connection refused" .*name=live type=Secret
time="\S+" level=\w+ msg="throttled for 7 s"
$`)
	if !want.Match(text.Bytes()) {
		t.Errorf("the log is\n%swant\n%s", text.String(), want)
	}
}
