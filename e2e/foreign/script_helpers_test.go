package foreign

// script defines the answers of a runtime. The runtimes in Go, Python and JavaScript read the
// same format, as JSON.
type script struct {
	Socket      string         `json:"socket"`
	Compression string         `json:"compression,omitempty"` // of the answers: gzip, deflate or none
	Options     map[string]any `json:"options,omitempty"`     // channel arguments, by gRPC's own names
	Rules       []rule         `json:"rules"`
}

// rule defines the answer to calls of a method. The first rule whose text is contained in the
// first message of a call applies.
type rule struct {
	Method   string   `json:"method"`
	Unary    bool     `json:"unary,omitempty"` // the same in all rules of a method
	Contains string   `json:"contains,omitempty"`
	Limit    int      `json:"limit,omitempty"` // number of calls it applies to; 0: no limit
	Mode     string   `json:"mode,omitempty"`  // one of the modes below; the same in all rules of a method, except modeHang
	Delay    int      `json:"delay,omitempty"` // before the answers, in milliseconds
	Answers  [][]byte `json:"answers,omitempty"`
	Code     int      `json:"code,omitempty"`
	Message  string   `json:"message,omitempty"`
	Details  []byte   `json:"details,omitempty"` // grpc-status-details-bin
}

// Modes of a rule. Without a mode, a call gets the rule's answers and status.
const (
	modeEcho   = "echo"   // answer each message with itself
	modeCount  = "count"  // answer all messages with their number
	modeHang   = "hang"   // after the answers, wait until the call is cancelled
	modeFreeze = "freeze" // stop the runtime's process with SIGSTOP
	modeReport = "report" // answer with a report in JSON
)

// report counts the calls of a runtime, except calls for a report.
type report struct {
	Begun      int `json:"begun"`
	Open       int `json:"open"`
	HalfClosed int `json:"halfClosed"` // streams whose call has its status, counted by grpc-js only
}

// Methods of a service that only the test peers have.
const (
	methodEcho   = "/foreign.Peer/Echo"
	methodChat   = "/foreign.Peer/Chat"
	methodCount  = "/foreign.Peer/Count"
	methodAnswer = "/foreign.Peer/Answer"
	methodUnary  = "/foreign.Peer/Unary"
	methodFreeze = "/foreign.Peer/Freeze" // not in Go, where the runtime is in the test's process
	methodReport = "/foreign.Peer/Report"
)

// peerRules returns the rules for the methods of that service.
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

// filler returns n bytes that gzip can compress slightly.
func filler(n int) []byte {
	b := make([]byte, n)
	state := uint32(n)
	for i := range b {
		state = state*1664525 + 1013904223
		b[i] = 'a' + byte(state>>24)%26
	}
	return b
}
