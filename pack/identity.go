package pack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/spec"
)

// changed is the error for a source that did not hold still.
func changed(name string) error {
	return &changedError{fmt.Errorf("%q: %w", name, archive.ErrSourceChanged)}
}

// nowRefused makes a change of what was in order when it was scanned: a source
// that is missing or of another kind now. Other errors stay as they are.
func nowRefused(err error) error {
	var refusal interface{ ExitCode() int }
	if !errors.As(err, &refusal) {
		return err
	}
	return &changedError{fmt.Errorf("%w: %v", archive.ErrSourceChanged, err)}
}

type changedError struct{ err error }

func (e *changedError) Error() string { return e.err.Error() }
func (e *changedError) Unwrap() error { return e.err }
func (e *changedError) Hint() string {
	return "run again when nothing writes to the sources; nothing was published"
}

// sameFile tells whether two looks saw the same file with the same content: same
// inode, size, and times of the last change to content and inode.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Mode() == b.Mode() && a.Size() == b.Size() &&
		a.ModTime().Equal(b.ModTime()) && changeTime(a).Equal(changeTime(b))
}

// sameNodes compares two scans and gives the first name that differs, or "".
// Directories only have to be there: what they hold is compared by itself.
func sameNodes(before, after []node) string {
	for i := range max(len(before), len(after)) {
		switch {
		case i >= len(before):
			return after[i].name
		case i >= len(after):
			return before[i].name
		}
		b, a := &before[i], &after[i]
		if b.name != a.name {
			return min(b.name, a.name)
		}
		if b.kind != a.kind || b.target != a.target || b.kind == spec.TypeFile && !sameFile(b.info, a.info) {
			return b.name
		}
	}
	return ""
}
