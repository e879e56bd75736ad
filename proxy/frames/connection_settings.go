package frames

import "golang.org/x/net/http2"

// settings applies the server's SETTINGS and acknowledges them. writeMutex is held for both,
// so that the frames written after the acknowledgement, and only these, follow the new
// values.
func (c *connection) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	c.writeMutex.Lock()
	err := c.apply(f)
	if err == nil {
		c.out = header{kind: http2.FrameSettings, flags: http2.FlagSettingsAck}.append(c.out)
		c.handleWriteError(c.flush())
	}
	c.writeMutex.Unlock()
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
				answer.window.add(int(setting.Val) - c.initialWindow)
			}
			c.initialWindow = int(setting.Val)
		case http2.SettingMaxFrameSize:
			c.maxFrame = min(max(int(setting.Val), defaultMaxFrame), bufferMax)
		case http2.SettingHeaderTableSize:
			c.headerTableSize = min(c.headerTableSize, setting.Val)
		case http2.SettingMaxConcurrentStreams:
			c.maxConcurrentStreams = int(setting.Val)
		}
		return setting.Valid()
	})
	c.changed.Broadcast()
	if !c.settingsReceived {
		c.settingsReceived = true
		close(c.ready)
	}
	return err
}
