package catalogrun

import (
	"fmt"
	"slices"
	"time"

	"github.com/nbpack/nbpack/extract"
)

// Report is what one run over a catalogue did. Its JSON form is the output
// of "nbextract sync --json".
type Report struct {
	Catalog    string    `json:"catalog"`
	Started    time.Time `json:"started"`
	Finished   time.Time `json:"finished"`
	DryRun     bool      `json:"dry_run,omitempty"`
	References int       `json:"references"` // that the catalogue names, patterns resolved
	Changed    int       `json:"changed"`    // trees
	Unchanged  int       `json:"unchanged"`
	// Requests and Fetched count everything, also what led to no tree.
	Requests int                `json:"requests"`
	Fetched  int64              `json:"fetched"` // bytes of response bodies
	Trees    []Tree             `json:"trees"`
	Failures []*extract.Failure `json:"failures"`
	Skipped  []Skipped          `json:"skipped"`
	Left     []LeftTree         `json:"left"`
	Stale    []StaleTree        `json:"stale"`
	Menus    []Menu             `json:"menus,omitempty"`
}

// Menu is a file of a boot menu, or one that belongs to it, that was written or
// removed.
type Menu struct {
	Destination string `json:"destination"`
	Path        string `json:"path"` // below the boot directory
}

// Tree is one tree that is as the catalogue wants it, or in a dry run would
// be.
type Tree struct {
	extract.TreeReport
	Destination string     `json:"destination"`
	Release     string     `json:"release,omitempty"`
	Created     *time.Time `json:"created,omitempty"` // of the image, if it says
	Moved       time.Time  `json:"moved"`             // when the reference was first seen to name this
}

// Skipped is a reference that a pattern found and that is not to be laid out.
type Skipped struct {
	Destination string `json:"destination"`
	Reference   string `json:"reference"`
	Release     string `json:"release,omitempty"`
	Reason      string `json:"reason"`
}

// LeftTree is a tree of the catalogue that it names no longer.
type LeftTree struct {
	Destination string    `json:"destination"`
	Path        string    `json:"path"`
	Reference   string    `json:"reference"`
	Since       time.Time `json:"since"`
	Removed     bool      `json:"removed"`          // in a dry run: would be
	Reason      string    `json:"reason,omitempty"` // why it was not
}

// StaleTree is one whose reference has stood still for too long.
type StaleTree struct {
	Destination string    `json:"destination"`
	Path        string    `json:"path"`
	Reference   string    `json:"reference"`
	Since       time.Time `json:"since"`
}

// Error sums up what failed in a run.
type Error struct {
	Failures []*extract.Failure
	Total    int // references, failed ones too
}

// Error counts by kind; each failure was told of when it happened.
func (e *Error) Error() string {
	counts := map[extract.FailureKind]int{}
	var kinds []string
	for _, f := range e.Failures {
		if counts[f.Kind]++; counts[f.Kind] == 1 {
			kinds = append(kinds, string(f.Kind))
		}
	}
	slices.Sort(kinds)
	what := ""
	for i, k := range kinds {
		if i > 0 {
			what += ", "
		}
		what += fmt.Sprintf("%d %s", counts[extract.FailureKind(k)], k)
	}
	return fmt.Sprintf("not all of %d references is up to date, failures: %s", e.Total, what)
}

// Hint is the first advice that a failure has.
func (e *Error) Hint() string {
	for _, f := range e.Failures {
		if f.Advice != "" {
			return f.Advice
		}
	}
	return ""
}

// ExitCode is that of the failures where they all ask for the same (3 content
// refused, 4 not found, 75 locked, …), else 1.
func (e *Error) ExitCode() int {
	code := e.Failures[0].ExitCode()
	for _, f := range e.Failures {
		if f.Kind == extract.FailInterrupted {
			return f.ExitCode()
		}
		if f.ExitCode() != code {
			code = 1
		}
	}
	return code
}
