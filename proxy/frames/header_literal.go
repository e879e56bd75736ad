package frames

import "golang.org/x/net/http2/hpack"

// appendLiterals appends fields as literals without indexing, or as never indexed literals
// if they are sensitive (RFC 7541, 6.2.2 and 6.2.3). Neither uses or changes the receiver's
// dynamic table. Names and values are not Huffman-coded.
func appendLiterals(b []byte, fields []hpack.HeaderField) []byte {
	for _, field := range fields {
		b = appendLiteral(b, field)
	}
	return b
}

// appendLiteral appends a field as appendLiterals does.
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

// appendInteger appends n as an integer with a prefix of the given number of bits (RFC 7541,
// 5.1). first has the other bits of the first byte.
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
