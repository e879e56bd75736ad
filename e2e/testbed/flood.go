package testbed

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Flood sends begin and then piece repeatedly until the client closes the connection. It
// writes to the raw connection, so begin includes the HTTP status line.
func Flood(begin, piece string) Fault {
	many := strings.Repeat(piece, 1+(64<<10)/len(piece))
	return func(response http.ResponseWriter, _ *http.Request, _ http.Handler) {
		connection, err := hijack(response)
		if err != nil {
			return
		}
		defer func() { _ = connection.Close() }()
		_, err = io.WriteString(connection, begin)
		for err == nil {
			_, err = io.WriteString(connection, many)
		}
	}
}

// FloodBody answers with headers, one per argument, and an endless body that begins like
// JSON.
func FloodBody(status string, headers ...string) Fault {
	headers = append(headers, "Transfer-Encoding: chunked")
	const chunk = 32 << 10
	return Flood("HTTP/1.1 "+status+"\r\n"+strings.Join(headers, "\r\n")+"\r\n\r\nb\r\n{\"token\": \"\r\n",
		fmt.Sprintf("%x\r\n%s\r\n", chunk, strings.Repeat("x", chunk)))
}

// Bomb answers with a small gzip body that expands to 1 GiB.
func Bomb(status string, headers ...string) Fault {
	body := Compressed(1 << 30)
	headers = append(headers, "Content-Encoding: gzip", fmt.Sprintf("Content-Length: %d", len(body)))
	begin := "HTTP/1.1 " + status + "\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
	return func(response http.ResponseWriter, _ *http.Request, _ http.Handler) {
		connection, err := hijack(response)
		if err != nil {
			return
		}
		defer func() { _ = connection.Close() }()
		_, _ = io.WriteString(connection, begin+string(body))
	}
}

// Compressed returns the gzip form of size zero bytes, about a thousandth of size. size
// must be a multiple of 16 MiB.
func Compressed(size int) []byte {
	const part = 16 << 20
	var member bytes.Buffer
	writer := gzip.NewWriter(&member)
	_, _ = writer.Write(make([]byte, part)) // a bytes.Buffer returns no errors
	_ = writer.Close()
	return bytes.Repeat(member.Bytes(), size/part) // gzip allows several members (RFC 1952, 2.2)
}
