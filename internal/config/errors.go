package config

import (
	"fmt"
	"strings"
)

// Error is one mistake in a file.
type Error struct {
	File         string
	Line, Column int    // from 1; 0 where it is about the whole file
	Msg          string // begins with the key, such as "images[3].ref: …"
}

// Error gives "file:line: message", as compilers do, for editors to jump to.
func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Msg)
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg)
}

// ExitCode is 2: what the user wrote is wrong.
func (e *Error) ExitCode() int { return 2 }

// Errors are all mistakes that were found, in the order of the file.
type Errors []*Error

// Error gives a line for each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// ExitCode is 2: what the user wrote is wrong.
func (e Errors) ExitCode() int { return 2 }

// Err gives nil where there is none, as errors are returned.
func (e Errors) Err() error {
	if len(e) == 0 {
		return nil
	}
	return e
}
