package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"image-cri-shim/trace"
)

func traceCommand() *cli.Command {
	return &cli.Command{
		Name:  "trace",
		Usage: "show the calls that pass through the running shim",
		Description: `trace prints a line for each finished call: its start, client, method, duration, gRPC code,
the size of the messages, the pod, container and images, and how the shim resolved the
image names. Streams without an end, such as GetContainerEvents, have a line for each
message.

The shim masks passwords, tokens, values of environment variables and other texts that
may be secret before it sends an event. docs/trace.md lists what is shown.

With traceBuffer in the configuration, --since 30s first prints the calls that ended in the
last 30 seconds, and --no-follow ends after them. They have no messages, and a pod only if
the call was a pull.

trace ends with Ctrl-C, --count or --for. If the shim restarts, trace waits for the new
one. If events are lost because they are not read fast enough, a line shows their number.`,
		Flags: append(traceFlags(),
			fileFlag(),
			&cli.BoolFlag{Name: "body", Usage: "print the decoded messages too, with secrets masked"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print `FORMAT`: text or json", Value: "text"},
			&cli.BoolFlag{Name: "summary", Usage: "print a table with one line for each method at the end, instead of events"},
			&cli.PathFlag{Name: "write", Usage: "record the printed events in `FILE`, which must not exist", TakesFile: true},
			&cli.PathFlag{Name: "read", Usage: "print the recording in `FILE` instead of the running shim's calls", TakesFile: true},
			&cli.IntFlag{Name: "count", Usage: "end after `N` events"},
			&cli.DurationFlag{Name: "for", Usage: "end after `DURATION`"},
		),
		Action: traceCalls,
	}
}

func traceCalls(c *cli.Context) error {
	err := traceTo(c)
	if _, isUsage := errors.AsType[cli.ExitCoder](err); err == nil || isUsage {
		return err
	}
	return fmt.Errorf("trace: %w", err)
}

func traceTo(c *cli.Context) error {
	query, err := readTraceQuery(c)
	if err != nil {
		return err
	}
	out := newTraceOutput(c)
	if c.IsSet("read") { // an unhandled signal ends the process, even while it waits for input
		err = out.replay(c.Path("read"), query.Filter)
	} else {
		var socket string
		if socket, _, err = adminSocket(c); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = out.follow(ctx, socket, query, c.Duration("for"))
	}
	return errors.Join(err, out.close())
}

// errEnough is returned after the last event of --count.
var errEnough = errors.New("enough")

// traceOutput prints and records events.
type traceOutput struct {
	stdout, stderr         io.Writer
	text, summarize, quiet bool // quiet: omit the final note if no events were lost
	summary                trace.Summary
	recordTo               string
	begun                  bool
	file                   *os.File // nil without --write
	left                   int      // events until the end; negative for no limit
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

// begin writes the headers. It is called once, when the trace has been opened.
func (t *traceOutput) begin(header trace.Header) (err error) {
	t.begun = true
	if t.recordTo != "" {
		// O_EXCL: others may be able to read an existing file.
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

// add prints and records an event. It returns errEnough after the last one.
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

// close closes the recording, and prints the summary and the number of events.
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
		t.notef("%s, %d lost", count(t.events, "event"), t.lost)
	}
	return problem
}

// notef prints a note to stderr.
func (t *traceOutput) notef(format string, values ...any) {
	fmt.Fprintf(t.stderr, "image-cri-shim: "+format+"\n", values...)
}

// reconnectInterval is the interval between attempts to reconnect to the shim.
const reconnectInterval = 200 * time.Millisecond
