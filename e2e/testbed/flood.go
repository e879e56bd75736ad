package testbed

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Flood sends a beginning and then a piece again and again, without HTTP's help, until
// the client hangs up.
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

// FloodBody answers with headers, a line each, and a body that begins as JSON does and
// does not end.
func FloodBody(status string, headers ...string) Fault {
	headers = append(headers, "Transfer-Encoding: chunked")
	const chunk = 32 << 10
	return Flood("HTTP/1.1 "+status+"\r\n"+strings.Join(headers, "\r\n")+"\r\n\r\nb\r\n{\"token\": \"\r\n",
		fmt.Sprintf("%x\r\n%s\r\n", chunk, strings.Repeat("x", chunk)))
}

// Bomb answers with a small body that is a gigabyte when it is decompressed.
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

// Compressed is what gzip makes of size bytes of nothing, a multiple of 16 MiB: about a
// thousandth.
func Compressed(size int) []byte {
	const part = 16 << 20
	var member bytes.Buffer
	writer := gzip.NewWriter(&member)
	_, _ = writer.Write(make([]byte, part)) // a buffer takes everything
	_ = writer.Close()
	return bytes.Repeat(member.Bytes(), size/part) // which gzip allows (RFC 1952, 2.2)
}
