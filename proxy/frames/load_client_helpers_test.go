package frames

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// loadClient is an HTTP/2 client for many concurrent requests. It fails if DATA exceeds a
// window, and it gives credit late.
type loadClient struct {
	t      *testing.T
	framer *http2.Framer
	read   sync.WaitGroup

	mutex   sync.Mutex
	changed *sync.Cond
	encoder *hpack.Encoder
	block   bytes.Buffer
	initial int // initial window of each stream
	window  int // window of the connection
	unpaid  int // bytes received without credit for the connection yet
	late    int // unpaid bytes at which the client gives credit
	calls   map[uint32]*loadCall
	frames  int // number of received frames
	failure error
}

// loadCall is a request of a loadClient and its answer.
type loadCall struct {
	window, uncredited int
	body               []byte
	status             string
	ended              bool
	code               http2.ErrCode // error code of RST_STREAM
}

func newLoadClient(t *testing.T, conn net.Conn, initial, late int) *loadClient {
	c := &loadClient{t: t, framer: http2.NewFramer(conn, conn), initial: initial, window: defaultWindow, late: late, calls: map[uint32]*loadCall{}}
	c.changed = sync.NewCond(&c.mutex)
	c.encoder = hpack.NewEncoder(&c.block)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(defaultTableSize, nil)
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	c.setInitial(initial)
	c.read.Go(func() {
		err := c.run()
		c.mutex.Lock()
		defer c.mutex.Unlock()
		c.failure = err
		c.changed.Broadcast()
	})
	return c
}

// setInitial announces another initial window for streams.
func (c *loadClient) setInitial(size int) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	_ = c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(size)})
	for id, call := range c.calls {
		if call.ended {
			continue
		}
		call.window += size - c.initial
		c.returnCredit(id, call)
	}
	c.initial = size
}

// returnCredit gives the outstanding credit for a stream.
func (c *loadClient) returnCredit(id uint32, call *loadCall) {
	if call.uncredited > 0 {
		call.window += call.uncredited
		_ = c.framer.WriteWindowUpdate(id, uint32(call.uncredited))
		call.uncredited = 0
	}
}

func (c *loadClient) begin(id uint32, path, body string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.calls[id] = &loadCall{window: c.initial}
	c.block.Reset()
	for _, text := range requestOf(path) {
		_ = c.encoder.WriteField(field(text))
	}
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block.Bytes(), EndHeaders: true})
	_ = c.framer.WriteData(id, true, []byte(body))
}

// cancel resets the stream of a request.
func (c *loadClient) cancel(id uint32) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if call := c.calls[id]; !call.ended {
		call.ended, call.code = true, http2.ErrCodeCancel
		_ = c.framer.WriteRSTStream(id, http2.ErrCodeCancel)
		c.changed.Broadcast()
	}
}

// wait waits until a call has ended and returns it.
func (c *loadClient) wait(id uint32) (*loadCall, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	call := c.calls[id]
	for !call.ended && c.failure == nil {
		c.changed.Wait()
	}
	if !call.ended {
		return nil, c.failure
	}
	return call, nil
}

// returnAllCredit gives all outstanding credit for the connection, and more bytes beyond it. It
// returns the new window.
func (c *loadClient) returnAllCredit(more int) int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	n := c.unpaid + more
	c.window += n
	c.unpaid = 0
	_ = c.framer.WriteWindowUpdate(0, uint32(n))
	return c.window
}

func (c *loadClient) run() error {
	for {
		f, err := c.framer.ReadFrame()
		if err != nil {
			return err
		}
		c.mutex.Lock()
		c.frames++
		err = c.frame(f)
		c.changed.Broadcast()
		c.mutex.Unlock()
		if err != nil {
			return err
		}
	}
}

func (c *loadClient) frame(f http2.Frame) error {
	call := c.calls[f.Header().StreamID]
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return c.framer.WriteSettingsAck()
		}
	case *http2.MetaHeadersFrame:
		if text := Field(f.Fields, "grpc-status"); text != "" {
			call.status = text
		}
		call.ended = call.ended || f.StreamEnded()
	case *http2.RSTStreamFrame:
		call.ended, call.code = true, f.ErrCode
	case *http2.DataFrame:
		return c.data(f, call)
	case *http2.GoAwayFrame:
		return fmt.Errorf("GOAWAY: %v, %q", f.ErrCode, f.DebugData())
	}
	return nil
}

func (c *loadClient) data(f *http2.DataFrame, call *loadCall) error {
	n := int(f.Length)
	if c.window -= n; c.window < 0 {
		return fmt.Errorf("DATA exceeds the window of the connection by %d bytes", -c.window)
	}
	c.unpaid += n
	if c.unpaid > min(c.late, c.window) {
		c.window += c.unpaid
		_ = c.framer.WriteWindowUpdate(0, uint32(c.unpaid))
		c.unpaid = 0
	}
	if call.ended {
		return nil
	}
	call.body = append(call.body, f.Data()...)
	call.ended = f.StreamEnded()
	call.window -= n
	call.uncredited += n
	if !call.ended && (call.uncredited > c.late || call.window <= 0) {
		c.returnCredit(f.StreamID, call)
	}
	return nil
}

// lateness returns a random value for loadClient.late.
func lateness(random *rand.Rand, window int) int { return random.IntN(max(1, window/2)) }

func (c *loadClient) receivedFrames() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.frames
}
