package page

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
)

func TestSearch(t *testing.T) {
	sources := healthySources()
	sources.Ledger = func(text string) ([]Name, int) { return []Name{{Original: text, Image: "sha256:1"}}, 7 }
	_, server := serve(t, sources)
	asked := `<img src=x> & "quotes"`
	response, body := ask(t, server, "/ledger?q="+url.QueryEscape(asked), unchanged)
	var found ledgerImages
	if err := json.Unmarshal([]byte(body), &found); err != nil {
		t.Fatal(err)
	}
	if len(found.Images) != 1 || found.Images[0].Names[0].Original != asked || found.Found != 1 || found.Names != 7 {
		t.Errorf("got %+v", found)
	}
	if response.Header.Get("Content-Type") != "application/json" || strings.Contains(body, "<") {
		t.Errorf("untrusted text could be parsed as markup: %s, %s", response.Header.Get("Content-Type"), body)
	}
}

// TestNamesAreGroupedByImage requires a row for each image, with all of its names even if
// those of other images are between them, and a bounded number of rows.
func TestNamesAreGroupedByImage(t *testing.T) {
	var names []Name
	for _, form := range []string{"nginx:%d", "nginx@sha256:%d"} {
		for i := range 2 * maxLedgerImages {
			names = append(names, Name{Original: fmt.Sprintf(form, i), Image: fmt.Sprint(i)})
		}
	}
	found := groupByImage(names, 999)
	if len(found.Images) != maxLedgerImages || found.Found != 2*maxLedgerImages || found.Names != 999 {
		t.Fatalf("%d of %d images, %d names", len(found.Images), found.Found, found.Names)
	}
	for i, image := range found.Images {
		if len(image.Names) != 2 || image.Names[0].Original != fmt.Sprintf("nginx:%d", i) || image.Names[1].Original != fmt.Sprintf("nginx@sha256:%d", i) {
			t.Errorf("row %d is %+v", i, image)
		}
	}
	if none := groupByImage(nil, 0); none.Images == nil {
		t.Error("no images are null in JSON")
	}
}

// TestSearchesWaitForNoReader has a client that searches and does not read the result. The
// search of another client must not wait for it.
func TestSearchesWaitForNoReader(t *testing.T) {
	sources := healthySources()
	searched := make(chan struct{}, 2)
	sources.Ledger = func(text string) ([]Name, int) {
		searched <- struct{}{}
		return []Name{{Original: strings.Repeat(text, 8<<20)}}, 1 // larger than the socket's buffers
	}
	_, server := serve(t, sources)
	connection, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	if _, err := connection.Write([]byte("GET /ledger?q=x HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	<-searched
	server.Client().Timeout = testTimeout
	if _, body := ask(t, server, "/ledger?q=", unchanged); !strings.HasPrefix(body, `{"images":`) {
		t.Errorf("another client got %q", body)
	}
}
