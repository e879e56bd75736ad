package frames

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// run reads until the connection ends.
func (c *connection) run() {
	c.respond(nil) // the preface
	var err error
	for err == nil {
		var f http2.Frame
		if f, err = c.framer.ReadFrame(); err == nil {
			err = c.frame(f)
		} else if problem, ok := errors.AsType[http2.StreamError](err); ok {
			c.respond(appendReset(nil, problem.StreamID, problem.Code))
			c.end(problem.StreamID, nil, problem)
			err = nil
		} else if _, ok := errors.AsType[http2.ConnectionError](err); !ok {
			err = fmt.Errorf("%w: %w", ErrServerGone, err)
		}
	}
	c.fail(err)
	c.drains.Wait()
}

func (c *connection) frame(f http2.Frame) error {
	id := f.Header().StreamID
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		c.headers(f)
	case *http2.DataFrame:
		c.data(f)
	case *http2.RSTStreamFrame:
		if f.ErrCode == http2.ErrCodeRefusedStream {
			c.end(id, nil, ErrRefused)
		} else {
			c.end(id, nil, ResetError{f.ErrCode})
		}
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			pong := header{length: len(f.Data), kind: http2.FramePing, flags: http2.FlagPingAck}.append(nil)
			c.respond(append(pong, f.Data[:]...))
		}
	case *http2.WindowUpdateFrame:
		c.mutex.Lock()
		if id == 0 {
			c.window.add(int(f.Increment))
		} else if answer := c.answers[id]; answer != nil {
			answer.window.add(int(f.Increment))
		}
		c.changed.Broadcast()
		c.mutex.Unlock()
	case *http2.GoAwayFrame:
		c.goAway(f.LastStreamID)
	}
	return nil
}

func (c *connection) headers(f *http2.MetaHeadersFrame) {
	if f.Truncated {
		c.refuse(f.StreamID)
		return
	}
	if f.StreamEnded() {
		c.end(f.StreamID, f.Fields, nil)
		return
	}
	if strings.HasPrefix(f.PseudoValue("status"), "1") {
		return // the final header block is yet to come (RFC 9110, 15.2)
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if answer := c.answers[f.StreamID]; answer != nil && answer.header == nil {
		answer.header = f.Fields
		answer.notify()
	}
}

// data keeps a piece of an answer. An answer that is kept as a whole returns it to
// the server's windows at once, another when it is read.
func (c *connection) data(f *http2.DataFrame) {
	var out []byte
	c.mutex.Lock()
	answer := c.answers[f.StreamID]
	if c.unreturned += int(f.Length); c.unreturned >= connectionWindow/2 {
		out = appendWindowUpdate(out, 0, c.unreturned)
		c.unreturned = 0
	}
	tooLarge := false
	if answer != nil {
		answer.body = append(answer.body, f.Data()...)
		answer.unreturned += int(f.Length)
		tooLarge = len(answer.body) > answerLimit
		if !answer.stream && !f.StreamEnded() {
			out = answer.appendReturn(out)
		}
		answer.notify()
	}
	c.mutex.Unlock()
	switch {
	case tooLarge:
		c.refuse(f.StreamID)
	case f.StreamEnded():
		c.end(f.StreamID, nil, nil)
	}
	if len(out) > 0 {
		c.respond(out)
	}
}

// refuse ends a request whose answer is not kept.
func (c *connection) refuse(id uint32) {
	c.respond(appendReset(nil, id, http2.ErrCodeCancel))
	c.end(id, nil, ErrAnswerTooLarge)
}

// end ends a request.
func (c *connection) end(id uint32, trailer []hpack.HeaderField, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	answer := c.answers[id]
	if answer == nil {
		return
	}
	delete(c.answers, id)
	answer.finish(trailer, err)
	c.changed.Broadcast()
	c.vacated()
}

func (c *connection) goAway(last uint32) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.leaving = true
	for id, answer := range c.answers {
		if id > last {
			delete(c.answers, id)
			answer.finish(nil, ErrRefused)
		}
	}
	c.changed.Broadcast()
	c.vacated()
}

// settings applies the server's settings. They hold for all that is sent after their
// acknowledgement, and for nothing before it.
func (c *connection) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	c.writing.Lock()
	err := c.apply(f)
	if err == nil {
		c.out = header{kind: http2.FrameSettings, flags: http2.FlagSettingsAck}.append(c.out)
		c.responded(c.flush())
	}
	c.writing.Unlock()
	c.signal()
	return err
}

func (c *connection) apply(f *http2.SettingsFrame) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	err := f.ForeachSetting(func(setting http2.Setting) error {
		switch setting.ID {
		case http2.SettingInitialWindowSize:
			for _, answer := range c.answers {
				answer.window.add(int(setting.Val) - c.initial)
			}
			c.initial = int(setting.Val)
		case http2.SettingMaxFrameSize:
			c.maxFrame = min(max(int(setting.Val), plainMaxFrame), bufferMax)
		case http2.SettingHeaderTableSize:
			c.table = min(c.table, setting.Val)
		case http2.SettingMaxConcurrentStreams:
			c.most = int(setting.Val)
		}
		return setting.Valid()
	})
	c.changed.Broadcast()
	if !c.settled {
		c.settled = true
		close(c.ready)
	}
	return err
}
