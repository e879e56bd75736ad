package frames

import "golang.org/x/net/http2/hpack"

// appendLiterals appends fields in a form that neither needs nor changes the receiver's
// dynamic table: literals without indexing, those of sensitive fields never indexed
// (RFC 7541, 6.2.2 and 6.2.3), names and values without Huffman coding.
func appendLiterals(b []byte, fields []hpack.HeaderField) []byte {
	for _, field := range fields {
		b = appendLiteral(b, field)
	}
	return b
}

// appendLiteral appends a field.
func appendLiteral(b []byte, field hpack.HeaderField) []byte {
	if field.Name == ":status" && field.Value == "200" {
		return append(b, 0x88) // indexed, static table
	}
	var first byte
	if field.Sensitive {
		first = 0x10
	}
	return appendString(appendString(append(b, first), field.Name), field.Value)
}

// appendString appends a string literal (RFC 7541, 5.2).
func appendString(b []byte, text string) []byte {
	return append(appendInteger(b, 0, 7, len(text)), text...)
}

// appendInteger appends an integer behind the bits of the first byte that are not its
// prefix (RFC 7541, 5.1).
func appendInteger(b []byte, first byte, prefix, n int) []byte {
	most := 1<<prefix - 1
	if n < most {
		return append(b, first|byte(n))
	}
	b = append(b, first|byte(most))
	for n -= most; n >= 128; n /= 128 {
		b = append(b, byte(n%128+128))
	}
	return append(b, byte(n))
}
