package extract

import (
	"fmt"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// PlatformError says that the platforms asked for do not name exactly one
// manifest each. Wanted is empty when the caller left the choice open.
type PlatformError struct {
	Reference  string
	Wanted     string
	Candidates []spec.Platform
	Several    bool // several candidates match, rather than none
}

func (e *PlatformError) Error() string {
	switch {
	case len(e.Candidates) == 0:
		return fmt.Sprintf("image %q holds no netboot content for any platform", e.Reference)
	case e.Wanted == "":
		return fmt.Sprintf("image %q holds several platforms: %s", e.Reference, e.list())
	case e.Several:
		return fmt.Sprintf("image %q holds several entries for platform %q: %s", e.Reference, e.Wanted, e.list())
	}
	return fmt.Sprintf("image %q holds nothing for platform %q, only: %s", e.Reference, e.Wanted, e.list())
}

// ExitCode is 2 where the caller has to choose and 4 where there is nothing
// to choose from.
func (e *PlatformError) ExitCode() int {
	if e.Several {
		return 2
	}
	return 4
}

// Hint says how to choose.
func (e *PlatformError) Hint() string {
	if len(e.Candidates) == 0 {
		return ""
	}
	return fmt.Sprintf("choose with --platform %s, or --platform all", e.Candidates[0])
}

func (e *PlatformError) list() string {
	names := make([]string, len(e.Candidates))
	for i, p := range e.Candidates {
		names[i] = p.String()
		if p.OSVersion != "" {
			names[i] += fmt.Sprintf(" (%q)", p.OSVersion)
		}
	}
	return strings.Join(names, ", ")
}

// usageError is a mistake in what the caller asked for, found before anything
// was read.
type usageError struct{ msg, hint string }

func (e *usageError) Error() string { return e.msg }
func (e *usageError) ExitCode() int { return 2 }
func (e *usageError) Hint() string  { return e.hint }

// notFoundError names something that the boot directory does not have.
type notFoundError struct{ msg, hint string }

func (e *notFoundError) Error() string { return e.msg }
func (e *notFoundError) ExitCode() int { return 4 }
func (e *notFoundError) Hint() string  { return e.hint }
