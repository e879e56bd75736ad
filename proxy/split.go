package proxy

import "encoding/binary"

// splitter finds the messages in a body that comes in pieces, and keeps of each what a
// tap wants.
type splitter struct {
	prefix  [prefixLength]byte
	have    int // bytes of the prefix
	length  int // of the message
	left    int // bytes of it that are to come
	wanted  int
	message []byte // what there is of the wanted part
}

func (s *splitter) split(piece []byte, from Side, tap Tap) {
	for len(piece) > 0 {
		if s.have < prefixLength {
			n := copy(s.prefix[s.have:], piece)
			s.have += n
			piece = piece[n:]
			if s.have < prefixLength {
				return
			}
			s.length = int(binary.BigEndian.Uint32(s.prefix[1:]))
			s.left = s.length
			s.wanted = tap.Wants(from, s.length)
		}
		n := min(s.left, len(piece))
		if missing := min(s.wanted, s.length) - len(s.message); missing > 0 {
			s.message = append(s.message, piece[:min(n, missing)]...)
		}
		s.left -= n
		piece = piece[n:]
		if s.left > 0 {
			return
		}
		if s.wanted > 0 {
			tap.Message(from, s.message, s.length, s.prefix[0] != 0)
		}
		s.have, s.message = 0, nil
	}
}
