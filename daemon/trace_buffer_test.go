package daemon

import (
	"strconv"
	"testing"

	"image-cri-shim/config"
	"image-cri-shim/trace"
)

// TestTraceBufferFitsTheHub requires that the configuration accepts the sizes that the hub does.
func TestTraceBufferFitsTheHub(t *testing.T) {
	for size, valid := range map[int]bool{
		trace.MinBuffer: true, trace.MaxBuffer: true,
		trace.MinBuffer - 1<<10: false, trace.MaxBuffer + 1<<10: false,
	} {
		text := strconv.Itoa(size>>10) + "KiB"
		settings, err := config.Parse("shim.yaml", []byte("traceBuffer: "+text))
		if (err == nil) != valid || valid && settings.TraceBuffer != size {
			t.Errorf("%s: got %v, want valid: %v", text, err, valid)
		}
	}
}
