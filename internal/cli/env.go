package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// level orders what is worth a line on standard error.
type level int

const (
	levelError level = iota
	levelWarn
	levelInfo
	levelDebug
)

// levelNames are the values of --log-level, in order.
var levelNames = []string{"error", "warn", "info", "debug"}

func (l level) String() string { return levelNames[l] }

// Env is what a command may use of the world around it. It is made by Run and
// handed to App.Root; its log level is known once a command runs.
type Env struct {
	Name   string    // the command's name, first word of every line on Stderr
	Stdout io.Writer // the result, nothing else
	Stderr io.Writer // messages; use the methods below, which go around the bars

	quiet    bool
	level    level
	mu       sync.Mutex
	progress *progress
	writing  sync.Mutex // lines, which come from any goroutine
}

// Warn prints a warning line, also to be used for what failed after the job was
// done. --quiet lets it pass.
func (e *Env) Warn(format string, a ...any) { e.log(levelWarn, "warning: ", format, a...) }

// Info prints a line about what was done or decided.
func (e *Env) Info(format string, a ...any) { e.log(levelInfo, "", format, a...) }

// Debug prints a line for somebody who looks for a fault, with --log-level debug.
func (e *Env) Debug(format string, a ...any) { e.log(levelDebug, "debug: ", format, a...) }

// Debugging tells whether --log-level debug was given.
func (e *Env) Debugging() bool { return e.level >= levelDebug }

// Quiet tells whether nobody wants to hear that all is well.
func (e *Env) Quiet() bool { return e.quiet || e.level <= levelError }

func (e *Env) log(l level, label, format string, a ...any) {
	if l <= e.level {
		e.line(label + fmt.Sprintf(format, a...))
	}
}

// fail prints the error line and, where there is one, the hint line.
func (e *Env) fail(err error) {
	e.line("error: " + err.Error())
	if h := Hint(err); h != "" {
		e.line("hint: " + h)
	}
}

func (e *Env) line(s string) {
	e.mu.Lock()
	p := e.progress
	e.mu.Unlock()
	text := e.Name + ": " + OneLine(s) + "\n"
	if p != nil && p.print(text) {
		return
	}
	e.writing.Lock()
	defer e.writing.Unlock()
	// Nothing useful can be done when standard error is gone.
	_, _ = io.WriteString(e.Stderr, text)
}

// JSON writes v to standard output as one indented JSON object with a final
// newline. Characters such as < stay as they are: the output is for programs,
// not for web pages.
func (e *Env) JSON(v any) error {
	enc := json.NewEncoder(e.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("writing the result as JSON: %w", err)
	}
	return nil
}

// Progress returns a function that reports how much of a named piece of work is
// done, in bytes; total is -1 where it is not known. It may be called from any
// goroutine. On a terminal it draws one bar for each name, elsewhere it prints a
// line now and then. --quiet silences it. Run takes the bars down at the end.
func (e *Env) Progress() func(name string, done, total int64) {
	if e.level < levelInfo {
		return func(string, int64, int64) {}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.progress == nil {
		e.progress = newProgress(e)
	}
	return e.progress.report
}

// StopProgress takes the bars down and waits until they are gone. A command
// calls it before it writes a long result to a terminal; Run calls it in any
// case.
func (e *Env) StopProgress() {
	e.mu.Lock()
	p := e.progress
	e.progress = nil
	e.mu.Unlock()
	if p != nil {
		p.stop()
	}
}
