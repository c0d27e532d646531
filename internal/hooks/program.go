package hooks

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// DefaultTimeout is how long a program may take that has no time of its own: a
// hook that hangs must not keep the lock of a boot directory until somebody
// comes by.
const DefaultTimeout = 5 * time.Minute

// Prefix begins the names of all facts.
const Prefix = "NBEXTRACT_"

// killGrace is how long a program may take to end after SIGTERM.
const killGrace = 5 * time.Second

// maxFact bounds a fact: the kernel starts no program with a variable of
// 128 KiB, and an error message of a registry may be of any length.
const maxFact = 32 << 10

// Program is a program with its arguments, and how it is run.
type Program struct {
	Argv    []string      // the first is the path of the program
	Timeout time.Duration // 0: DefaultTimeout
	// Output takes each line that the program prints, on either stream, without
	// its end and cut off where it is very long. The text is the program's:
	// quote it. nil drops it.
	Output func(line string)

	grace time.Duration // tests: instead of killGrace
}

// Error says how a program failed.
type Error struct {
	Program string // path
	Err     error  // how it ended
	Said    string // last line that it printed, if any
}

// Error tells how the program ended, and what it said last.
func (e *Error) Error() string {
	s := fmt.Sprintf("%q %v", e.Program, e.Err)
	if e.Said != "" {
		s += fmt.Sprintf(": %q", e.Said)
	}
	return s
}

// Unwrap gives how it ended: *exec.ExitError where it ran.
func (e *Error) Unwrap() error { return e.Err }

// environment is that of this process, without facts that a run around this one
// may have left in it, and with the facts of this event.
func environment(own []string, facts map[string]string) []string {
	env := slices.DeleteFunc(slices.Clone(own), func(v string) bool { return strings.HasPrefix(v, Prefix) })
	names := make([]string, 0, len(facts))
	for name := range facts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		env = append(env, Prefix+name+"="+fact(facts[name]))
	}
	return env
}

// fact makes a value that the kernel takes: without NUL, and not too long.
func fact(v string) string {
	v = strings.ReplaceAll(v, "\x00", "\uFFFD")
	if len(v) > maxFact {
		v = strings.ToValidUTF8(v[:maxFact], "") + "…"
	}
	return v
}

func (p Program) environment(facts map[string]string) []string {
	return environment(os.Environ(), facts)
}
