package doctor

import (
	"errors"
	"fmt"

	"github.com/pelletier/go-toml/v2"
)

// decodeTOML decodes a file. Its error has the line of the mistake and contains nothing of
// the file's content.
func decodeTOML(content []byte, into any) error {
	err := toml.Unmarshal(content, into)
	if err == nil {
		return nil
	}
	if at, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, _ := at.Position()
		return fmt.Errorf("line %d is not TOML of the expected form", line)
	}
	return errors.New("the file is not TOML of the expected form")
}
