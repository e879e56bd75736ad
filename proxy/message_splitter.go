package proxy

import "encoding/binary"

// messageSplitter splits a body that arrives in pieces into messages, and buffers the part of
// each message that a tap wants.
type messageSplitter struct {
	prefix     [prefixLength]byte
	prefixRead int    // received bytes of prefix
	length     int    // length of the message
	remaining  int    // bytes of the message that have not arrived
	wanted     int    // bytes of the message that the tap wants
	message    []byte // received bytes of the wanted part
}

func (s *messageSplitter) split(piece []byte, from Side, tap Tap) {
	for len(piece) > 0 {
		if s.prefixRead < prefixLength {
			n := copy(s.prefix[s.prefixRead:], piece)
			s.prefixRead += n
			piece = piece[n:]
			if s.prefixRead < prefixLength {
				return
			}
			s.length = int(binary.BigEndian.Uint32(s.prefix[1:]))
			s.remaining = s.length
			s.wanted = tap.Wants(from, s.length)
		}
		n := min(s.remaining, len(piece))
		if missing := min(s.wanted, s.length) - len(s.message); missing > 0 {
			s.message = append(s.message, piece[:min(n, missing)]...)
		}
		s.remaining -= n
		piece = piece[n:]
		if s.remaining > 0 {
			return
		}
		if s.wanted > 0 {
			tap.Message(from, s.message, s.length, s.prefix[0] != 0)
		}
		s.prefixRead, s.message = 0, nil
	}
}
