package foreign

// script says how a runtime answers. The runtimes in Go, Python and JavaScript read the
// same one, as JSON.
type script struct {
	Socket      string         `json:"socket"`
	Compression string         `json:"compression,omitempty"` // of the answers: gzip, deflate or none
	Options     map[string]any `json:"options,omitempty"`     // channel arguments, by gRPC's own names
	Rules       []rule         `json:"rules"`
}

// rule is the answer to the calls of a method. The first rule whose text is in the
// first message of a call applies.
type rule struct {
	Method   string   `json:"method"`
	Unary    bool     `json:"unary,omitempty"` // of all rules of a method
	Contains string   `json:"contains,omitempty"`
	Limit    int      `json:"limit,omitempty"` // how many calls it applies to; 0 is no limit
	Mode     string   `json:"mode,omitempty"`  // one of the modes below; of all rules of a method, except modeHang
	Delay    int      `json:"delay,omitempty"` // before the answers, in milliseconds
	Answers  [][]byte `json:"answers,omitempty"`
	Code     int      `json:"code,omitempty"`
	Message  string   `json:"message,omitempty"`
	Details  []byte   `json:"details,omitempty"` // grpc-status-details-bin
}

// Modes of a rule. Without one the call gets the rule's answers and status.
const (
	modeEcho   = "echo"   // each message is answered with itself
	modeCount  = "count"  // all messages are answered with how many they were
	modeHang   = "hang"   // after the answers the call waits until it is cancelled
	modeFreeze = "freeze" // the runtime's process stops
	modeReport = "report" // the answer is a report in JSON
)

// report counts the calls of a runtime, calls for a report excepted.
type report struct {
	Begun int `json:"begun"`
	Open  int `json:"open"`
}

// Methods of no service that exists.
const (
	methodEcho   = "/foreign.Peer/Echo"
	methodChat   = "/foreign.Peer/Chat"
	methodCount  = "/foreign.Peer/Count"
	methodAnswer = "/foreign.Peer/Answer"
	methodUnary  = "/foreign.Peer/Unary"
	methodFreeze = "/foreign.Peer/Freeze" // not in Go: the runtime is part of the test's process
	methodReport = "/foreign.Peer/Report"
)

// peerRules are the rules for the methods of no service that exists.
func peerRules() []rule {
	many := make([][]byte, 100)
	for i := range many {
		many[i] = filler(1000 + i)
	}
	details := []byte("\x08\x05\x12\x03abc\x00\xff")
	return []rule{
		{Method: methodEcho, Unary: true, Mode: modeEcho},
		{Method: methodChat, Mode: modeEcho},
		{Method: methodCount, Mode: modeCount},
		{Method: methodAnswer, Contains: "many", Answers: many},
		{Method: methodAnswer, Contains: "none"},
		{Method: methodAnswer, Contains: "large", Answers: [][]byte{filler(5 << 20), filler(1), filler(5 << 20)}},
		{Method: methodAnswer, Contains: "fail", Answers: many[:3], Code: 5, Message: "not found: 100% of “it”", Details: details},
		{Method: methodAnswer, Contains: "refuse", Code: 7, Message: "refused"},
		{Method: methodAnswer, Contains: "hang", Mode: modeHang, Answers: many[:1]},
		{Method: methodUnary, Unary: true, Contains: "fail", Code: 9, Message: "line one\nline two, 50%", Details: details},
		{Method: methodUnary, Unary: true, Contains: "large", Answers: [][]byte{filler(5 << 20)}},
		{Method: methodUnary, Unary: true, Contains: "hang", Mode: modeHang},
		{Method: methodFreeze, Unary: true, Mode: modeFreeze},
		{Method: methodReport, Unary: true, Mode: modeReport},
	}
}

// filler returns n bytes that gzip makes shorter, but not much.
func filler(n int) []byte {
	b := make([]byte, n)
	state := uint32(n)
	for i := range b {
		state = state*1664525 + 1013904223
		b[i] = 'a' + byte(state>>24)%26
	}
	return b
}
