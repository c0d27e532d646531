package resolve

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
	Candidates []Candidate
	Several    bool // several candidates match, rather than none
	Unnamed    bool // the reference is an artifact that names no platform at all
}

// Candidate is one manifest that could have been chosen.
type Candidate struct {
	Platform spec.Platform
	Form     spec.Form // empty where only reading the manifest would tell
	Digest   string
}

// Error lists the candidates, quoted, or says that there are none.
func (e *PlatformError) Error() string {
	switch {
	case e.Unnamed:
		return fmt.Sprintf("artifact %q names no platform, so it is not known to be for %q", e.Reference, e.Wanted)
	case len(e.Candidates) == 0:
		return fmt.Sprintf("image %q holds no netboot content for any platform", e.Reference)
	case e.Wanted == "":
		return fmt.Sprintf("image %q holds several entries: %s", e.Reference, e.list())
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
	switch {
	case e.Unnamed:
		return fmt.Sprintf("leave --platform out, or say what it is for: --set os.arch=%s", archName(e.Wanted))
	case len(e.Candidates) == 0:
		return "nbextract list shows all that the reference holds"
	case e.samePlatform():
		return fmt.Sprintf("name one of them by its digest: REPOSITORY@%s", e.Candidates[0].Digest)
	}
	return fmt.Sprintf("choose with --platform %s, or --platform all", e.Candidates[0].Platform)
}

// samePlatform tells that a platform cannot tell the candidates apart.
func (e *PlatformError) samePlatform() bool {
	for _, c := range e.Candidates[1:] {
		if c.Platform.String() != e.Candidates[0].Platform.String() {
			return false
		}
	}
	return e.Several
}

// archName is the value of the label os.arch for a platform as a user writes it.
func archName(platform string) string {
	if p, err := spec.ParsePlatform(platform); err == nil {
		return p.Arch()
	}
	return "ARCH"
}

func (e *PlatformError) list() string {
	const most = 12
	var names []string
	for i, c := range e.Candidates {
		if i == most {
			return strings.Join(names, ", ") + fmt.Sprintf(" and %d more", len(e.Candidates)-most)
		}
		var details []string
		if c.Platform.OSVersion != "" {
			details = append(details, fmt.Sprintf("%q", c.Platform.OSVersion))
		}
		if c.Form != "" {
			details = append(details, string(c.Form))
		}
		name := c.Platform.String()
		if details != nil {
			name += " (" + strings.Join(details, ", ") + ")"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// UsageError tells of a platform's name that is none, found before anything was chosen.
type UsageError struct{ msg string }

// Error names the option and what was given.
func (e *UsageError) Error() string { return e.msg }

// ExitCode is that of a mistake in what the caller asked for.
func (e *UsageError) ExitCode() int { return 2 }
