package page

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// live sends a viewer what has changed, as server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html): at first everything,
// then each second what is new. A viewer that is too slow gets less often what is new then.
func (p *Page) live(response http.ResponseWriter, request *http.Request) {
	response.Header().Set("Content-Type", "text/event-stream")
	select {
	case p.viewers <- struct{}{}:
		defer func() { <-p.viewers }()
	default:
		_, _ = fmt.Fprintf(response, "event: full\ndata: %d viewers are looking already\n\n", cap(p.viewers))
		return
	}
	ticker := time.NewTicker(p.pace)
	defer ticker.Stop()
	var has viewed
	for {
		if p.send(response, has.news(p.snapshot(request.Context()))) != nil {
			return
		}
		select {
		case <-request.Context().Done():
			return
		case <-ticker.C:
		}
	}
}

// send gives a viewer an update. It fails where the viewer does not take it in time.
func (p *Page) send(response http.ResponseWriter, update snapshot) error {
	text, err := json.Marshal(update)
	if err != nil {
		return err
	}
	controller := http.NewResponseController(response)
	if err := controller.SetWriteDeadline(time.Now().Add(p.patience)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(response, "data: %s\n\n", text); err != nil {
		return err
	}
	return controller.Flush()
}
