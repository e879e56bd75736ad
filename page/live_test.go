package page

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

func TestUpdates(t *testing.T) {
	p, server := serve(t, healthySources())
	p.ObserveDecision(Decision{Asked: "first"})
	v := view(t, server)
	all := v.update(func(snapshot) bool { return true })
	if len(all.Decisions) != 1 || all.Configuration == nil || *all.Configuration != "socket  /run/shim.sock" {
		t.Errorf("the first update has the decisions %+v and the configuration %v", all.Decisions, all.Configuration)
	}
	p.ObserveDecision(Decision{Asked: "second"})
	p.ObserveCall("/a/B", "OK", time.Millisecond)
	later := v.update(func(s snapshot) bool { return len(s.Decisions) > 0 && len(s.Calls) > 0 })
	if len(later.Decisions) != 1 || later.Decisions[0].Asked != "second" || later.Configuration != nil {
		t.Errorf("a later update has the decisions %+v and the configuration %v", later.Decisions, later.Configuration)
	}
	v.update(func(s snapshot) bool { return len(s.Decisions) == 0 })
}

func TestConfigurationIsSentWhenItChanges(t *testing.T) {
	sources := healthySources()
	texts := make(chan string, 1)
	texts <- "one"
	text := ""
	sources.Configuration = func() string {
		select {
		case text = <-texts:
		default:
		}
		return text
	}
	_, server := serve(t, sources)
	v := view(t, server)
	for _, wanted := range []string{"one", "two"} {
		update := v.update(func(s snapshot) bool { return s.Configuration != nil })
		if *update.Configuration != wanted {
			t.Errorf("got %q, want %q", *update.Configuration, wanted)
		}
		texts <- "two"
	}
}

func TestViewersAreFew(t *testing.T) {
	p, server := serve(t, healthySources())
	var viewers []*viewer
	for range cap(p.viewerSlots) {
		v := view(t, server)
		v.next()
		viewers = append(viewers, v)
	}
	if event, data := view(t, server).next(); event != "full" || data != "limit of 8 viewers reached" {
		t.Errorf("a viewer beyond the limit got %q, %q", event, data)
	}
	viewers[0].leave()
	eventually(t, "a slot is free again", func() bool {
		event, _ := view(t, server).next()
		return event == ""
	})
}

// TestSlowViewer has a viewer that does not read large updates. Its connection must end.
func TestSlowViewer(t *testing.T) {
	p, server := serve(t, healthySources())
	p.writeTimeout = 50 * time.Millisecond
	connection, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	if _, err := fmt.Fprint(connection, "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the viewer is connected", func() bool { return len(p.viewerSlots) == 1 })
	decision := Decision{Reason: strings.Repeat("x", maxTextBytes), Error: strings.Repeat("y", maxTextBytes)}
	eventually(t, "the viewer is disconnected", func() bool {
		for range maxDecisions {
			p.ObserveDecision(decision) // must not wait for the viewer
		}
		return len(p.viewerSlots) == 0
	})
}
