package cli

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// widthLimit is the maximum width of text for people, in columns.
const widthLimit = 100

// screen returns the width for text on w and whether the text may have colors. Only a
// terminal has colors, unless NO_COLOR is set (no-color.org) or TERM is dumb.
func screen(w io.Writer) (width int, color bool) {
	file, ok := w.(*os.File)
	if !ok {
		return widthLimit, false
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil { // not a terminal
		return widthLimit, false
	}
	width = widthLimit
	if size.Col > 0 { // 0 on some serial consoles
		width = min(width, int(size.Col))
	}
	term := os.Getenv("TERM")
	return width, os.Getenv("NO_COLOR") == "" && term != "" && term != "dumb"
}
