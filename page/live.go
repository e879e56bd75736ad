package page

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// live streams updates to a viewer as server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html): first a full snapshot,
// then the changed parts each second. A slow viewer gets fewer updates.
func (p *Page) live(response http.ResponseWriter, request *http.Request) {
	response.Header().Set("Content-Type", "text/event-stream")
	select {
	case p.viewerSlots <- struct{}{}:
		defer func() { <-p.viewerSlots }()
	default:
		_, _ = fmt.Fprintf(response, "event: full\ndata: limit of %d viewers reached\n\n", cap(p.viewerSlots))
		return
	}
	ticker := time.NewTicker(p.updateInterval)
	defer ticker.Stop()
	var viewer viewerState
	for {
		if p.send(response, viewer.delta(p.snapshot(request.Context()))) != nil {
			return
		}
		select {
		case <-request.Context().Done():
			return
		case <-ticker.C:
		}
	}
}

// send writes an update. It returns an error if the viewer does not read it within
// writeTimeout.
func (p *Page) send(response http.ResponseWriter, update snapshot) error {
	text, err := json.Marshal(update)
	if err != nil {
		return err
	}
	controller := http.NewResponseController(response)
	if err := controller.SetWriteDeadline(time.Now().Add(p.writeTimeout)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(response, "data: %s\n\n", text); err != nil {
		return err
	}
	return controller.Flush()
}
