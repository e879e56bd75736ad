package proxy_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"
)

// The methods of the differential test. All but the first are intercepted.
const (
	plainMethod  = "/differential.v1.Service/Plain"
	unaryMethod  = "/differential.v1.Service/Unary"
	streamMethod = "/differential.v1.Service/Stream"
	localMethod  = "/differential.v1.Service/Local" // answered without the runtime
)

// script describes one call: the actions of the client, and those of the runtime, which
// receives the script in the call's metadata.
type script struct {
	Method   string
	Unary    bool   `json:",omitempty"` // the client makes a unary call
	Gzip     bool   `json:",omitempty"` // the client compresses its messages
	Metadata uint64 `json:",omitempty"` // seed of the request's metadata; 0: none
	Requests []int  `json:",omitempty"` // sizes of the client's messages
	Open     bool   `json:",omitempty"` // the client does not close its side

	Read        reading       `json:",omitempty"`
	EarlyHeader bool          `json:",omitempty"` // sent before the first read
	Header      uint64        `json:",omitempty"`
	Trailer     uint64        `json:",omitempty"`
	Answers     []int         `json:",omitempty"` // sizes of the runtime's messages
	Code        uint32        `json:",omitempty"`
	Text        string        `json:",omitempty"`
	Details     bool          `json:",omitempty"`
	GiveUp      givingUp      `json:",omitempty"`
	Timeout     time.Duration `json:",omitempty"`
}

// reading is the amount of the request that the runtime reads.
type reading string

const (
	readAll  reading = ""     // to its end, before it answers
	readNone reading = "none" // nothing
	readEach reading = "each" // a message before each answer, which the client awaits
)

// givingUp is the way in which the client ends a call that the runtime does not end.
type givingUp string

const (
	never      givingUp = ""
	atDeadline givingUp = "deadline" // the runtime is silent
	cancelled  givingUp = "cancel"   // after the runtime's last answer
	flooded    givingUp = "flood"    // the same, but the runtime goes on sending
)

func (s script) String() string {
	text, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// randomScript returns a call with only one possible outcome.
func randomScript(random *rand.Rand) script {
	s := script{
		Method:   []string{plainMethod, plainMethod, plainMethod, unaryMethod, unaryMethod, streamMethod, localMethod}[random.IntN(7)],
		Gzip:     random.IntN(8) == 0,
		Metadata: randomSeed(random),
		Header:   randomSeed(random),
		Trailer:  randomSeed(random),
		Requests: []int{randomSize(random)},
	}
	switch s.Method {
	case localMethod:
		s.Unary = random.IntN(2) == 0
		return s
	case unaryMethod:
		s.Unary = true
	case streamMethod:
	default:
		s.Unary = random.IntN(2) == 0
	}
	if s.Unary {
		s.Answers = []int{randomSize(random)}
	} else {
		s.Answers = randomSizes(random)
	}
	if s.Method == plainMethod {
		s.randomReading(random)
	}
	s.EarlyHeader = random.IntN(4) == 0
	if random.IntN(3) == 0 {
		s.randomStatus(random)
	}
	s.randomGivingUp(random)
	return s
}

// randomReading varies properties that only methods without an interceptor can have.
func (s *script) randomReading(random *rand.Rand) {
	s.Read = []reading{readAll, readAll, readEach, readNone}[random.IntN(4)]
	if s.Unary {
		if s.Read == readEach {
			s.Read = readAll
		}
		return
	}
	s.Requests = randomSizes(random)
	if s.Read == readEach {
		s.Requests = s.Answers
	}
	s.Open = s.Read != readAll && random.IntN(2) == 0
}

func (s *script) randomStatus(random *rand.Rand) {
	s.Code = uint32(1 + random.IntN(17)) // one of these is not a known code
	s.Text = []string{"", "not found", "100% of größe\n", strings.Repeat("long ", 20)}[random.IntN(4)]
	s.Details = random.IntN(2) == 0
	if s.Unary && random.IntN(2) == 0 {
		s.Answers = nil
	}
}

func (s *script) randomGivingUp(random *rand.Rand) {
	switch random.IntN(25) {
	case 0:
		s.GiveUp, s.Answers = atDeadline, nil
		s.EarlyHeader = false
		s.Timeout = time.Duration(random.IntN(30)) * time.Millisecond
	case 1:
		s.GiveUp = cancelled
		if s.Unary {
			s.Answers = nil
		}
	case 2:
		if !s.Unary {
			s.GiveUp = flooded
		}
	}
	if s.GiveUp != never && s.Read == readEach {
		s.Read, s.Open = readNone, true
	}
}

// randomSeed is 0 in half of the cases.
func randomSeed(random *rand.Rand) uint64 {
	if random.IntN(2) == 0 {
		return 0
	}
	return random.Uint64()>>1 + 1
}

func randomSizes(random *rand.Rand) []int {
	sizes := make([]int, random.IntN(5))
	for at := range sizes {
		sizes[at] = randomSize(random)
	}
	return sizes
}

// randomSize returns a size that is mostly small, at most 1 MiB, and very rarely 8 MiB.
func randomSize(random *rand.Rand) int {
	switch chance := random.IntN(10_000); {
	case chance < 1:
		return 8 << 20
	case chance < 30:
		return random.IntN(1 << 20)
	case chance < 300:
		return random.IntN(100 << 10)
	case chance < 2000:
		return random.IntN(8 << 10)
	case chance < 3000:
		return 0
	default:
		return random.IntN(200)
	}
}

// randomMetadata returns metadata with new and repeated names and values, some of them long.
func randomMetadata(prefix string, seed uint64) metadata.MD {
	result := metadata.MD{}
	if seed == 0 {
		return result
	}
	random := rand.New(rand.NewPCG(seed, 0))
	for range 1 + random.IntN(5) {
		key := fmt.Sprintf("%s-%d", prefix, random.IntN(1<<(1+random.IntN(20))))
		length := random.IntN(40)
		if random.IntN(50) == 0 {
			length = random.IntN(8 << 10)
		}
		value := make([]byte, length)
		if binary := random.IntN(3) == 0; binary {
			key += "-bin"
			for at := range value {
				value[at] = byte(random.Uint32())
			}
		} else {
			for at := range value {
				value[at] = byte('!' + random.IntN('~'-'!'))
			}
		}
		for range 1 + random.IntN(2) {
			result.Append(key, string(value))
		}
	}
	return result
}
