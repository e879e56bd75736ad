package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"image-cri-shim/admin"
	"image-cri-shim/trace"
)

func traceCommand() *cli.Command {
	return &cli.Command{
		Name:  "trace",
		Usage: "show the calls that pass through the running shim",
		Description: `A line for each call when it has ended: when it began, who made it, how long it took,
how it ended, how many bytes the messages have, the pod, container and images that it
is about, and what the shim made of an image's name. Calls that answer without end, such
as GetContainerEvents, have a line for each message.

Passwords, tokens, the values of environments and whatever else may be secret is
masked before it leaves the shim; docs/trace.md says what is shown.

It ends with Ctrl-C, --count or --for. When the shim is restarted it waits for the next.
A line says how many events were lost because they were not read as fast as they came.`,
		Flags: []cli.Flag{
			fileFlag(),
			&cli.StringSliceFlag{Name: "method", Usage: "only calls of `METHOD`: PullImage, '*Image*', v1alpha2.Version"},
			&cli.StringSliceFlag{Name: "pod", Usage: "only calls about `POD`: web-0, default/web-0, 'kube-system/*'"},
			&cli.StringSliceFlag{Name: "image", Usage: "only calls about images with `TEXT` in their names, as asked for or served"},
			&cli.BoolFlag{Name: "errors", Usage: "only calls that failed"},
			&cli.DurationFlag{Name: "slower-than", Usage: "only calls that took longer than `DURATION`"},
			&cli.BoolFlag{Name: "body", Usage: "print the messages too, decoded, with what may be secret masked"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print `FORMAT`: text or json", Value: "text"},
			&cli.BoolFlag{Name: "summary", Usage: "print, at the end, a table with a line for each method instead"},
			&cli.PathFlag{Name: "write", Usage: "record in `FILE` what is printed; it must not exist", TakesFile: true},
			&cli.PathFlag{Name: "read", Usage: "print what was recorded in `FILE`, instead of what passes now", TakesFile: true},
			&cli.IntFlag{Name: "count", Usage: "end after `N` events"},
			&cli.DurationFlag{Name: "for", Usage: "end after `DURATION`"},
		},
		Action: traceCalls,
	}
}

// traceFilter is what the flags say is of interest.
func traceFilter(c *cli.Context) (trace.Filter, error) {
	filter := trace.Filter{
		Methods: c.StringSlice("method"), Pods: c.StringSlice("pod"), Images: c.StringSlice("image"),
		Errors: c.Bool("errors"), Slower: c.Duration("slower-than"),
	}
	switch format := c.String("output"); {
	case c.Args().Present():
		return filter, fmt.Errorf("found the argument %q, expected options only", c.Args().First())
	case format != "text" && format != "json":
		return filter, fmt.Errorf("--output: found %q, expected text or json", format)
	case c.Int("count") < 0 || c.Duration("for") < 0:
		return filter, errors.New("--count and --for: expected something positive")
	case c.IsSet("read") && c.IsSet("for"):
		return filter, errors.New("found --for beside --read: a recording ends by itself")
	}
	return filter, filter.Check()
}

func traceCalls(c *cli.Context) error {
	err := traceTo(c)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, admin.ErrNotRunning):
		return fmt.Errorf("trace: %w (--read FILE shows a recording without it)", err)
	case os.Geteuid() != 0 && !c.IsSet("read") && (errors.Is(err, fs.ErrPermission) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return fmt.Errorf("trace: only root may: %w", err) // the shim hangs up on others
	}
	return fmt.Errorf("trace: %w", err)
}

func traceTo(c *cli.Context) error {
	filter, err := traceFilter(c)
	if err != nil {
		return err
	}
	out := newTraceOutput(c)
	if c.IsSet("read") { // a signal ends the process, whatever it waits for, as with any that only reads
		err = out.replay(c.Path("read"), filter)
	} else {
		ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = out.follow(ctx, c, filter)
	}
	return errors.Join(err, out.close())
}

// errEnough ends a trace that has shown what it was to show.
var errEnough = errors.New("enough")

// traceOutput is where events go.
type traceOutput struct {
	stdout, stderr         io.Writer
	text, summarize, quiet bool // quiet: a recording, which nothing is lost of now
	summary                trace.Summary
	recordTo               string
	begun                  bool
	file                   *os.File // nil where nothing is recorded
	left                   int      // events until it is enough; negative for no end
	events, lost           int64
}

func newTraceOutput(c *cli.Context) *traceOutput {
	left := -1
	if c.Int("count") > 0 {
		left = c.Int("count")
	}
	return &traceOutput{
		stdout: c.App.Writer, stderr: c.App.ErrWriter, quiet: c.IsSet("read"), left: left,
		text: c.String("output") == "text", summarize: c.Bool("summary"), recordTo: c.Path("write"),
	}
}

// begin is called once, when it is known that there is a trace.
func (t *traceOutput) begin(header trace.Header) (err error) {
	t.begun = true
	if t.recordTo != "" {
		// Not over a file that others may read, or have open.
		if t.file, err = os.OpenFile(t.recordTo, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return fmt.Errorf("record: %w", err)
		}
		if err := trace.WriteHeader(t.file, header); err != nil {
			return fmt.Errorf("record: %w", err)
		}
	}
	if t.text && !t.summarize {
		return trace.WriteTextHeader(t.stdout)
	}
	return nil
}

// add returns errEnough with the last event.
func (t *traceOutput) add(event trace.Event) error {
	if t.file != nil {
		if err := trace.WriteEvent(t.file, event); err != nil {
			return fmt.Errorf("record: %w", err)
		}
	}
	if err := t.show(event); err != nil {
		return err
	}
	if event.Kind == trace.KindLost {
		t.lost += event.Lost
		return nil
	}
	t.events++
	if t.left--; t.left == 0 {
		return errEnough
	}
	return nil
}

func (t *traceOutput) show(event trace.Event) error {
	switch {
	case t.summarize:
		t.summary.Add(event)
		return nil
	case t.text:
		return trace.WriteText(t.stdout, event)
	default:
		return trace.WriteEvent(t.stdout, event)
	}
}

// close ends the recording, and says what there is to say at the end.
func (t *traceOutput) close() error {
	if !t.begun {
		return nil
	}
	var problem error
	if t.file != nil {
		problem = t.file.Close()
	}
	if t.summarize {
		problem = errors.Join(problem, t.summary.Write(t.stdout, t.text))
	}
	if !t.quiet || t.lost > 0 {
		t.notef("%d events, %d lost", t.events, t.lost)
	}
	return problem
}

// notef prints what is no event.
func (t *traceOutput) notef(format string, values ...any) {
	fmt.Fprintf(t.stderr, "image-cri-shim: "+format+"\n", values...)
}

// reconnectInterval is how often it is tried whether the shim is back.
const reconnectInterval = 200 * time.Millisecond
